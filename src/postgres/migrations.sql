-- saathiid's own schema, version by version. A migration that has been released
-- is never edited: a change is a new one. src/postgres/migrations.cpp lists them.

-- name: v1_tables
CREATE TYPE saathii_tasks.charge_source AS ENUM ('api', 'saathiid', 'waived');

-- The term of leadership under which the transaction works; NULL: none (--once).
CREATE FUNCTION saathii_tasks.present_term() RETURNS bigint
  LANGUAGE sql STABLE PARALLEL SAFE
  RETURN nullif(current_setting('saathii_tasks.term', true), '')::bigint;

-- One row for each charged (call, minute): the primary key is what makes a
-- second charge impossible. 'api' rows are what the API had taken when saathiid
-- first charged the call; 'waived' ones cost nothing (charge_catch_up_limit).
CREATE TABLE saathii_tasks.call_charge (
  call_id       integer     NOT NULL,
  minute        integer     NOT NULL CHECK (minute >= 1),
  user_id       integer     NOT NULL,  -- who paid
  coins         bigint      NOT NULL CHECK (coins >= 0),
  minute_start  timestamptz NOT NULL,
  source        saathii_tasks.charge_source NOT NULL,
  balance_after bigint,                -- of the wallet; NULL for 'api'
  charged_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  refunded_at   timestamptz,           -- given back: the call had ended before the minute
  term          bigint DEFAULT saathii_tasks.present_term(),
  PRIMARY KEY (call_id, minute)
);
CREATE INDEX call_charge_charged_at ON saathii_tasks.call_charge USING brin (charged_at);

-- One row for each call that saathiid ended.
CREATE TABLE saathii_tasks.call_settlement (
  call_id     integer       NOT NULL PRIMARY KEY,
  user_id     integer       NOT NULL,
  listener_id integer,
  reason      text          NOT NULL,
  end_time    timestamptz   NOT NULL,
  minutes     integer       NOT NULL,  -- paid ones
  coins       bigint        NOT NULL,
  earned      numeric(12,2) NOT NULL,  -- rupees
  settled_at  timestamptz   NOT NULL DEFAULT clock_timestamp(),
  term        bigint        DEFAULT saathii_tasks.present_term()
);
CREATE INDEX call_settlement_settled_at ON saathii_tasks.call_settlement USING brin (settled_at);

-- The coins of a started minute, by the moment in which it starts.
CREATE TABLE saathii_tasks.coin_rate (
  call_type  text        NOT NULL,
  valid_from timestamptz NOT NULL,
  coins      bigint      NOT NULL CHECK (coins > 0),
  PRIMARY KEY (call_type, valid_from)
);

-- How long the "minute" of a charge is, by the moment in which the call starts.
CREATE TABLE saathii_tasks.minute_length (
  valid_from timestamptz NOT NULL PRIMARY KEY,
  length     interval    NOT NULL CHECK (length > '0')
);

-- The outcome of every tick; a range where many ended alike without a run.
CREATE TABLE saathii_tasks.job_run (
  job               text        NOT NULL,
  scheduled_at      timestamptz NOT NULL,
  last_scheduled_at timestamptz NOT NULL,
  ticks             bigint      NOT NULL DEFAULT 1,  -- 0: asked for, no tick of the schedule
  outcome           text        NOT NULL CHECK (outcome IN
                      ('succeeded', 'failed', 'timed_out', 'skipped', 'coalesced', 'missed')),
  reason            text        NOT NULL DEFAULT '',
  run_id            uuid,
  started_at        timestamptz,
  finished_at       timestamptz,
  attempts          integer     NOT NULL DEFAULT 0,
  counts            jsonb       NOT NULL DEFAULT '{}',
  as_of             timestamptz,                     -- ran as if at this moment
  recorded_at       timestamptz NOT NULL DEFAULT now(),
  term              bigint,                          -- of leadership; NULL: a job of each host
  PRIMARY KEY (job, scheduled_at)
);
CREATE INDEX job_run_scheduled_at ON saathii_tasks.job_run USING brin (scheduled_at);
CREATE INDEX job_run_written_off ON saathii_tasks.job_run (job, scheduled_at)
  WHERE outcome IN ('coalesced', 'missed');

-- The processes that serve this database, whoever of them leads.
CREATE TABLE saathii_tasks.instance (
  id            uuid        NOT NULL PRIMARY KEY,
  name          text        NOT NULL,
  backend_pid   integer     NOT NULL,  -- of the session that stands for it
  backend_start timestamptz,
  since         timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Which of them leads: one row. The term is a key, because whoever changes a key
-- waits for those who rely on it.
CREATE TABLE saathii_tasks.leadership (
  one        boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
  term       bigint      NOT NULL UNIQUE,
  holder     uuid,                 -- NULL: it has resigned
  since      timestamptz NOT NULL,
  renewed_at timestamptz NOT NULL,
  lease      interval    NOT NULL  -- after so long without renewal another may lead
);
INSERT INTO saathii_tasks.leadership (term, since, renewed_at, lease)
VALUES (0, now(), now(), '0');

-- What the leader offers of a run to the instances that stand by.
CREATE TABLE saathii_tasks.share (
  job        text        NOT NULL,
  slice      integer     NOT NULL,
  slices     integer     NOT NULL,
  term       bigint      NOT NULL,
  moment     timestamptz NOT NULL,  -- T of the run
  claimed_by integer,               -- the backend of whoever works on it
  claimed_at timestamptz,
  done_at    timestamptz,
  counts     jsonb       NOT NULL DEFAULT '[]',  -- of each who worked on it, but the leader
  PRIMARY KEY (job, slice)
);

-- Who has led since when.
CREATE TABLE saathii_tasks.leadership_term (
  term     bigint      NOT NULL PRIMARY KEY,
  instance text        NOT NULL,
  since    timestamptz NOT NULL
);

-- For `saathiictl audit`, written by its --baseline alone: what each wallet had
-- before its first transaction. A wallet that had nothing has no row; row 0 tells
-- when the baseline was taken.
CREATE TABLE saathii_tasks.audit_baseline (
  wallet_id integer       NOT NULL PRIMARY KEY,
  coins     bigint        NOT NULL,
  money     numeric(14,2) NOT NULL,  -- rupees
  taken_at  timestamptz   NOT NULL
);

-- name: v1_index_ongoing
CREATE INDEX CONCURRENTLY IF NOT EXISTS saathii_tasks_ongoing_calls
  ON public.user_calls (call_id) WHERE status = 'ongoing'

-- name: v1_index_start
CREATE INDEX CONCURRENTLY IF NOT EXISTS saathii_tasks_calls_by_start
  ON public.user_calls USING brin (start_time)
