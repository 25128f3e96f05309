-- What operators ask of the ledgers. Each answer is read in one snapshot, by
-- primary keys, and at most so many rows of it. Moments of the platform's go out
-- as NULL where they are none that a clock shows (infinity, the year 20000).

-- name: history
-- $1 job, or '' for all. $2 since when (a range of ticks that reaches into that
-- time counts). $3 outcome, or '' for all. $4 limit. $5 until when, by the
-- scheduled moment. Newest first.
--
-- The jobs are found by leaps over the primary key; of each at most $4 rows are
-- read from its end. Ranges of a job do not overlap, so of those that begin
-- before $2 only the last can reach beyond it.
WITH RECURSIVE named (job) AS (
  SELECT CASE WHEN $1::text <> '' THEN $1::text
              ELSE (SELECT min(job) FROM saathii_tasks.job_run) END
  UNION ALL
  SELECT (SELECT min(next.job) FROM saathii_tasks.job_run AS next WHERE next.job > named.job)
    FROM named
   WHERE $1::text = '' AND named.job IS NOT NULL)
SELECT run.job, run.scheduled_at, run.last_scheduled_at, run.ticks, run.outcome, run.reason,
       run.run_id, run.started_at, run.finished_at, run.attempts, run.counts
  FROM named
 CROSS JOIN LATERAL (
       (SELECT *
          FROM saathii_tasks.job_run
         WHERE job = named.job AND scheduled_at >= $2::timestamptz
           AND scheduled_at <= $5::timestamptz
           AND ($3::text = '' OR outcome = $3::text)
         ORDER BY scheduled_at DESC
         LIMIT $4::bigint)
       UNION ALL
       (SELECT *
          FROM (SELECT *
                  FROM saathii_tasks.job_run
                 WHERE job = named.job AND scheduled_at < $2::timestamptz
                 ORDER BY scheduled_at DESC
                 LIMIT 1) AS reaching
         WHERE last_scheduled_at >= $2::timestamptz AND scheduled_at <= $5::timestamptz
           AND ($3::text = '' OR outcome = $3::text))) AS run
 ORDER BY run.scheduled_at DESC, run.job
 LIMIT $4::bigint

-- name: call
-- $1 call id.
SELECT call_id, coalesce(user_id, 0), coalesce(listener_id, 0), coalesce(call_type, ''),
       coalesce(status, ''),
       CASE WHEN start_time BETWEEN '1970-01-01Z' AND '9999-12-31Z' THEN start_time END,
       CASE WHEN end_time BETWEEN '1970-01-01Z' AND '9999-12-31Z' THEN end_time END,
       coalesce(coins_spent, 0)
  FROM public.user_calls
 WHERE call_id = $1::bigint

-- name: minutes
-- $1 call id, $2 limit.
SELECT minute, minute_start, coins, source, charged_at, balance_after + coins AS balance_before,
       balance_after, refunded_at
  FROM saathii_tasks.call_charge
 WHERE call_id = $1::bigint
 ORDER BY minute
 LIMIT $2::bigint

-- name: settlement
-- $1 call id.
SELECT reason, CASE WHEN end_time BETWEEN '1970-01-01Z' AND '9999-12-31Z' THEN end_time END,
       minutes, coins, earned, settled_at
  FROM saathii_tasks.call_settlement
 WHERE call_id = $1::bigint

-- name: wallet
-- $1 user id.
SELECT wallet_id, coalesce(balance_coins, 0), coalesce(withdrawable_money, 0)::numeric(12,2)
  FROM public.user_wallets
 WHERE user_id = $1::bigint

-- name: ongoing_calls
-- $1 user id, $2 limit. As either party.
SELECT call_id FROM public.user_calls WHERE user_id = $1::bigint AND status = 'ongoing'
 UNION
SELECT call_id FROM public.user_calls WHERE listener_id = $1::bigint AND status = 'ongoing'
 ORDER BY call_id
 LIMIT $2::bigint

-- name: wallet_entries
-- $1 wallet id, $2 limit. The platform has no index on wallet_id: its primary
-- key is read from the end until there are enough.
SELECT CASE WHEN coalesce(created_at, updated_at) BETWEEN '1970-01-01Z' AND '9999-12-31Z'
            THEN coalesce(created_at, updated_at) END,
       coalesce(tx_type, ''), coalesce(coins_change, 0),
       coalesce(money_change, 0)::numeric(12,2)
  FROM public.user_transactions
 WHERE wallet_id = $1::bigint
 ORDER BY transaction_id DESC
 LIMIT $2::bigint
