-- What coin_deduction and call_cleanup share: charging minutes and settling
-- calls. Locks are always taken in the same order: calls by call_id, then
-- wallets by user_id, then status rows by user_id.

-- name: record_rates
-- $1 T, $2 audio, $3 video: coins a minute. A rate that differs from the latest
-- known one holds for minutes that start from T on, or where the clock was set
-- back, from just after the latest began. A known rate is never overwritten:
-- minutes were charged at it, and the scan for due calls relies on the highest.
INSERT INTO saathii_tasks.coin_rate (call_type, valid_from, coins)
SELECT given.call_type,
       CASE WHEN latest.coins IS NULL THEN '-infinity'
            ELSE greatest($1::timestamptz, latest.valid_from + interval '1 microsecond') END,
       given.coins
  FROM (VALUES ('audio', $2::bigint), ('video', $3::bigint)) AS given (call_type, coins)
  LEFT JOIN LATERAL (SELECT valid_from, coins
                       FROM saathii_tasks.coin_rate
                      WHERE call_type = given.call_type
                      ORDER BY valid_from DESC
                      LIMIT 1) AS latest ON true
 WHERE latest.coins IS DISTINCT FROM given.coins
    ON CONFLICT (call_type, valid_from) DO NOTHING

-- name: record_minute_length
-- $1 T, $2 the length. As for rates: calls that have begun keep the one that held.
INSERT INTO saathii_tasks.minute_length (valid_from, length)
SELECT CASE WHEN latest.length IS NULL THEN '-infinity'
            ELSE greatest($1::timestamptz, latest.valid_from + interval '1 microsecond') END,
       given.length
  FROM (VALUES ($2::interval)) AS given (length)
  LEFT JOIN LATERAL (SELECT valid_from, length
                       FROM saathii_tasks.minute_length
                      ORDER BY valid_from DESC
                      LIMIT 1) AS latest ON true
 WHERE latest.length IS DISTINCT FROM given.length
    ON CONFLICT (valid_from) DO NOTHING

-- name: tariff
-- Every rate that ever held, in order; the first of each call type since always.
-- Without a call type: the length of a minute, in microseconds, likewise.
SELECT call_type, value,
       CASE WHEN valid_from > '-infinity'
            THEN (extract(epoch FROM valid_from) * 1000000)::bigint END AS valid_from_us
  FROM (SELECT call_type, coins AS value, valid_from FROM saathii_tasks.coin_rate
         UNION ALL
        SELECT NULL, (extract(epoch FROM length) * 1000000)::bigint, valid_from
          FROM saathii_tasks.minute_length) AS known
 ORDER BY call_type, valid_from

-- name: lock_calls
-- $1 call ids. Those of them that are ongoing; calls that another transaction
-- holds (the API is ending one) are left for the next run.
SELECT call_id, user_id, listener_id, call_type,
       (date_part('epoch', start_time) * 1000000)::bigint AS start_us, coalesce(coins_spent, 0)
  FROM public.user_calls
 WHERE call_id = ANY ($1::int[]) AND status = 'ongoing' AND isfinite(start_time)
 ORDER BY call_id
   FOR NO KEY UPDATE SKIP LOCKED

-- name: lock_wallets
-- $1 user ids.
SELECT user_id, wallet_id, coalesce(balance_coins, 0)
  FROM public.user_wallets
 WHERE user_id = ANY ($1::int[])
 ORDER BY user_id
   FOR NO KEY UPDATE

-- name: charged_minutes
-- $1 call ids, locked before, so that no minute is charged meanwhile. How many
-- minutes the ledger has of those that it knows.
SELECT given.call_id, charged.minute
  FROM unnest($1::int[]) AS given (call_id)
 CROSS JOIN LATERAL (SELECT minute
                       FROM saathii_tasks.call_charge
                      WHERE call_id = given.call_id
                      ORDER BY minute DESC
                      LIMIT 1) AS charged

-- name: add_transactions
-- $1 wallet ids, $2 the coins that each spends. Before their wallets are written:
-- the check of the foreign key finds our lock on the row and needs none of its own.
INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change, money_change)
SELECT wallet_id, 'spend', -coins, 0
  FROM unnest($1::int[], $2::bigint[]) AS spent (wallet_id, coins)

-- name: take_coins
-- $1 wallet ids, each once, $2 coins. Returns how many wallets there were, and
-- what is in the poorest now.
WITH wallets AS (
  UPDATE public.user_wallets AS w
     SET balance_coins = w.balance_coins - spent.coins, updated_at = now()
    FROM unnest($1::int[], $2::bigint[]) AS spent (wallet_id, coins)
   WHERE w.wallet_id = spent.wallet_id
  RETURNING w.balance_coins)
SELECT count(*), coalesce(min(balance_coins), 0) FROM wallets

-- name: add_coins_spent
-- $1 call ids, each once, $2 coins.
UPDATE public.user_calls AS c
   SET coins_spent = coalesce(c.coins_spent, 0) + charged.coins, updated_at = now()
  FROM unnest($1::int[], $2::bigint[]) AS charged (call_id, coins)
 WHERE c.call_id = charged.call_id

-- name: add_charges
-- A column of the ledger each; $5 in microseconds since 1970.
INSERT INTO saathii_tasks.call_charge
       (call_id, minute, user_id, coins, minute_start, source, balance_after)
SELECT call_id, minute, user_id, coins,
       timestamptz 'epoch' + start_us * interval '1 microsecond', source, balance_after
  FROM unnest($1::int[], $2::int[], $3::int[], $4::bigint[], $5::bigint[],
              $6::saathii_tasks.charge_source[], $7::bigint[])
         AS charged (call_id, minute, user_id, coins, start_us, source, balance_after)

-- name: set_wait_times
-- $1 user ids, $2 the wait_time of each. A row that a heartbeat holds is not
-- waited for: the next minute sets it.
WITH differing AS (
  SELECT status.user_id, expected.wait_time
    FROM unnest($1::int[], $2::int[]) AS expected (user_id, wait_time)
    JOIN public.user_status AS status ON status.user_id = expected.user_id
   WHERE status.wait_time IS DISTINCT FROM expected.wait_time
   ORDER BY status.user_id
     FOR NO KEY UPDATE OF status SKIP LOCKED)
UPDATE public.user_status AS status
   SET wait_time = differing.wait_time, updated_at = now()
  FROM differing
 WHERE status.user_id = differing.user_id

-- name: ensure_listener_wallets
-- $1 call ids.
INSERT INTO public.user_wallets (user_id, balance_coins, withdrawable_money)
SELECT DISTINCT c.listener_id, 0, 0
  FROM public.user_calls AS c
 WHERE c.call_id = ANY ($1::int[]) AND c.status = 'ongoing' AND c.listener_id IS NOT NULL
   AND NOT EXISTS (SELECT FROM public.user_wallets AS w WHERE w.user_id = c.listener_id)
 ORDER BY c.listener_id
    ON CONFLICT (user_id) DO NOTHING

-- name: lock_statuses
-- $1 user ids. Before settle, so that it sees the calls of whoever has just set
-- a party busy, and so that a heartbeat cannot come between its reading and ours.
WITH locked AS (
  SELECT user_id
    FROM public.user_status
   WHERE user_id = ANY ($1::int[])
   ORDER BY user_id
     FOR NO KEY UPDATE)
SELECT count(*) FROM locked

-- name: open
-- $1 call ids, locked, that are about to end. $2 T.
-- What the API had taken for those that were never charged here, so that the
-- ledger holds every coin and minute that was paid.
INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins, minute_start, source)
SELECT c.call_id, minute, coalesce(c.user_id, 0),
       CASE minute WHEN 1 THEN c.coins_spent - (opening.minutes - 1) * coalesce(at_start.coins, 0)
                   ELSE at_start.coins END,
       c.start_time + (minute - 1) * opening.length, 'api'
  FROM public.user_calls AS c
  LEFT JOIN LATERAL (SELECT coins
                       FROM saathii_tasks.coin_rate
                      WHERE call_type = c.call_type AND valid_from <= c.start_time
                      ORDER BY valid_from DESC
                      LIMIT 1) AS at_start ON true
 CROSS JOIN LATERAL (
       SELECT greatest(1, least(coalesce(c.coins_spent / at_start.coins, 1),
                                floor(date_part('epoch', $2::timestamptz - c.start_time)
                                      / date_part('epoch', length))::bigint + 1))::int
                AS minutes, length
         FROM saathii_tasks.minute_length
        WHERE valid_from <= c.start_time
        ORDER BY valid_from DESC
        LIMIT 1) AS opening
 CROSS JOIN LATERAL generate_series(1, opening.minutes) AS minute
 WHERE c.call_id = ANY ($1::int[]) AND c.coins_spent > 0
   AND (SELECT minute FROM saathii_tasks.call_charge AS known
         WHERE known.call_id = c.call_id LIMIT 1) IS NULL

-- name: refund
-- $1 call ids, locked, wallets too. $2 for each the moment in which it had in
-- truth ended. What was charged for minutes that start later is given back; the
-- ledger's row stays, marked, so that the minute is never charged again.
WITH late AS (
  UPDATE saathii_tasks.call_charge AS charge
     SET refunded_at = clock_timestamp()
    FROM unnest($1::int[], $2::timestamptz[]) AS given (call_id, end_time)
   WHERE charge.call_id = given.call_id AND charge.minute_start > given.end_time
     AND charge.refunded_at IS NULL
  RETURNING charge.call_id, charge.minute, charge.user_id, charge.coins),
calls AS (
  UPDATE public.user_calls AS c
     SET coins_spent = c.coins_spent - back.coins, updated_at = now()
    FROM (SELECT call_id, sum(coins)::bigint AS coins FROM late GROUP BY call_id) AS back
   WHERE c.call_id = back.call_id AND back.coins > 0),
wallets AS (
  UPDATE public.user_wallets AS w
     SET balance_coins = coalesce(w.balance_coins, 0) + back.coins, updated_at = now()
    FROM (SELECT user_id, sum(coins)::bigint AS coins FROM late GROUP BY user_id) AS back
   WHERE w.user_id = back.user_id AND back.coins > 0),
transactions AS (
  INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change, money_change)
  SELECT w.wallet_id, 'spend', late.coins, 0
    FROM late
    JOIN public.user_wallets AS w ON w.user_id = late.user_id
   WHERE late.coins > 0)
SELECT coalesce(sum(coins), 0)::bigint FROM late

-- name: settle
-- $1 call ids, locked, both parties' wallets and statuses too. $2 end times. $3 reasons.
-- $4 time zone of the business day. $5, $6 the basic badge's rupees a minute,
-- audio and video. $7 true where earnings are credited as whole coins.
WITH ended AS MATERIALIZED (
  SELECT c.call_id, c.user_id, c.listener_id, c.call_type, c.start_time, given.end_time,
         given.reason,
         least(floor(date_part('epoch', given.end_time - c.start_time)), 2147483647)::int
           AS seconds
    FROM unnest($1::int[], $2::timestamptz[], $3::text[]) AS given (call_id, end_time, reason)
    JOIN public.user_calls AS c ON c.call_id = given.call_id AND c.status = 'ongoing'),
paid AS MATERIALIZED (
  SELECT call_id, coins, (minute_start AT TIME ZONE $4::text)::date AS day
    FROM saathii_tasks.call_charge
   WHERE call_id = ANY ($1::int[]) AND refunded_at IS NULL AND source <> 'waived'),
earning AS MATERIALIZED (
  SELECT ended.call_id, ended.listener_id,
         count(paid.call_id)::int AS minutes, coalesce(sum(paid.coins), 0)::bigint AS coins,
         coalesce(sum(CASE WHEN paid.call_id IS NULL THEN 0
                           WHEN ended.call_type = 'video'
                           THEN coalesce(badge.video_rate_per_minute, $6::numeric)
                           ELSE coalesce(badge.audio_rate_per_minute, $5::numeric) END),
                  0)::numeric(12,2) AS earned
    FROM ended
    LEFT JOIN paid ON paid.call_id = ended.call_id
    LEFT JOIN public.listener_badges AS badge
      ON badge.listener_id = ended.listener_id AND badge.date = paid.day
   GROUP BY ended.call_id, ended.listener_id),
credit AS MATERIALIZED (
  SELECT earning.call_id, w.wallet_id,
         CASE WHEN $7::bool THEN floor(earned)::bigint ELSE 0 END AS coins,
         CASE WHEN $7::bool THEN 0 ELSE earned END AS money
    FROM earning
    JOIN public.user_wallets AS w ON w.user_id = earning.listener_id
   WHERE earned > 0),
wallets AS (
  UPDATE public.user_wallets AS w
     SET balance_coins = coalesce(w.balance_coins, 0) + total.coins,
         withdrawable_money = coalesce(w.withdrawable_money, 0) + total.money,
         updated_at = now()
    FROM (SELECT wallet_id, sum(coins)::bigint AS coins, sum(money) AS money
            FROM credit
           GROUP BY wallet_id) AS total
   WHERE w.wallet_id = total.wallet_id),
transactions AS (
  INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change, money_change)
  SELECT wallet_id, 'earn', coins, money FROM credit WHERE coins > 0 OR money > 0),
calls AS (
  UPDATE public.user_calls AS c
     SET status = 'dropped', end_time = ended.end_time, duration_seconds = ended.seconds,
         duration_minutes = greatest(1, ended.seconds / 60),
         listener_money_earned = floor(earning.earned)::bigint, updated_at = now()
    FROM ended
    JOIN earning ON earning.call_id = ended.call_id
   WHERE c.call_id = ended.call_id),
settlements AS (
  INSERT INTO saathii_tasks.call_settlement
         (call_id, user_id, listener_id, reason, end_time, minutes, coins, earned)
  SELECT ended.call_id, coalesce(ended.user_id, 0), ended.listener_id, reason, end_time, minutes,
         coins, earned
    FROM ended
    JOIN earning ON earning.call_id = ended.call_id),
free AS MATERIALIZED (
  SELECT party.user_id
    FROM (SELECT user_id FROM ended UNION SELECT listener_id FROM ended) AS party
   WHERE NOT EXISTS (SELECT FROM public.user_calls AS other
                      WHERE other.user_id = party.user_id AND other.status = 'ongoing'
                        AND other.call_id NOT IN (SELECT call_id FROM ended))
     AND NOT EXISTS (SELECT FROM public.user_calls AS other
                      WHERE other.listener_id = party.user_id AND other.status = 'ongoing'
                        AND other.call_id NOT IN (SELECT call_id FROM ended))),
statuses AS (
  UPDATE public.user_status AS status
     SET is_busy = false, wait_time = NULL, updated_at = now()
    FROM free
   WHERE status.user_id = free.user_id
     AND (status.is_busy IS DISTINCT FROM false OR status.wait_time IS NOT NULL))
SELECT ended.call_id, ended.user_id, ended.listener_id, ended.reason,
       (extract(epoch FROM ended.end_time) * 1000000)::bigint AS end_time_us,
       earning.minutes, earning.coins, earning.earned,
       (earning.earned * 100)::bigint AS earned_paise
  FROM ended
  JOIN earning ON earning.call_id = ended.call_id
 ORDER BY ended.call_id
