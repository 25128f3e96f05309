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

-- name: lock_calls
-- $1 call ids. Calls that another transaction holds (the API is ending one) are
-- left for the next run. Returns the ids that are locked and still ongoing.
WITH locked AS (
  SELECT call_id
    FROM public.user_calls
   WHERE call_id = ANY ($1::int[]) AND status = 'ongoing'
   ORDER BY call_id
     FOR NO KEY UPDATE SKIP LOCKED)
SELECT array_agg(call_id) FROM locked

-- name: lock_caller_wallets
-- $1 call ids.
WITH locked AS (
  SELECT user_id
    FROM public.user_wallets
   WHERE user_id IN (SELECT user_id FROM public.user_calls WHERE call_id = ANY ($1::int[]))
   ORDER BY user_id
     FOR NO KEY UPDATE)
SELECT count(*) FROM locked

-- name: charge
-- $1 call ids, locked and their callers' wallets with them. $2 for each of
-- them the moment up to which minutes are charged, T where none is given. $3 T.
-- $4 the length of a minute. $5 the most unpaid minutes of one call that are
-- charged, older ones being waived; 0 for no limit.
--
-- Charges, for each wallet, minutes in the order in which they started, up to
-- the first that the balance does not cover: that minute's call is "short".
-- What comes after it on the same wallet waits until the short call has ended.
-- Where nobody is the caller each call is a payer of its own.
WITH rate AS MATERIALIZED (
  SELECT call_type, coins, valid_from,
         lead(valid_from, 1, 'infinity') OVER (PARTITION BY call_type ORDER BY valid_from)
           AS valid_until,
         min(coins) OVER (PARTITION BY call_type) AS lowest
    FROM saathii_tasks.coin_rate),
given AS MATERIALIZED (
  SELECT c.call_id, c.user_id, c.listener_id, c.call_type, c.start_time,
         coalesce(c.user_id, -c.call_id) AS payer,
         coalesce(c.coins_spent, 0) AS coins_spent,
         coalesce(given.upto, $3::timestamptz) - c.start_time AS lasted,
         given.upto IS NOT NULL AS is_closing
    FROM unnest($1::int[], $2::timestamptz[]) AS given (call_id, upto)
    JOIN public.user_calls AS c ON c.call_id = given.call_id AND c.status = 'ongoing'),
paying AS MATERIALIZED (
  SELECT given.*, w.wallet_id, coalesce(w.balance_coins, 0) AS balance,
         charged.minute IS NULL AS is_new,
         at_start.coins AS start_rate, at_end.coins AS next_rate, at_end.lowest,
         coalesce(charged.minute,
                  CASE WHEN coins_spent > 0
                       THEN least(greatest(1, coins_spent / at_start.coins), 2000000000)
                       ELSE 0 END)::int AS paid,
         least(floor(date_part('epoch', lasted) / date_part('epoch', $4::interval)),
               2000000000)::int + 1 AS started
    FROM given
    JOIN rate AS at_start
      ON at_start.call_type = given.call_type
     AND given.start_time >= at_start.valid_from AND given.start_time < at_start.valid_until
    JOIN rate AS at_end
      ON at_end.call_type = given.call_type
     AND $3::timestamptz >= at_end.valid_from AND $3::timestamptz < at_end.valid_until
    LEFT JOIN public.user_wallets AS w ON w.user_id = given.user_id
    LEFT JOIN LATERAL (SELECT minute
                         FROM saathii_tasks.call_charge
                        WHERE call_id = given.call_id
                        ORDER BY minute DESC
                        LIMIT 1) AS charged ON true),
call AS MATERIALIZED (
  SELECT paying.*,
         CASE WHEN paid < started THEN paid ELSE 0 END AS opening,
         -- No minute that is affordable comes later, however long ago the start.
         least(started, CASE WHEN $5::bigint > 0 THEN greatest(paid, started - $5::bigint)
                             ELSE paid END + balance / lowest + 1)::int AS last_minute
    FROM paying),
due AS (
  SELECT call.call_id, call.user_id, call.payer, call.wallet_id, call.balance, due.minute,
         due.minute_start,
         $5::bigint > 0 AND due.minute <= call.started - $5::bigint AS waived,
         CASE WHEN $5::bigint > 0 AND due.minute <= call.started - $5::bigint THEN 0
              ELSE rate.coins END AS coins
    FROM call
   CROSS JOIN LATERAL (
         SELECT minute, call.start_time + (minute - 1) * $4::interval AS minute_start
           FROM generate_series(call.paid + 1, call.last_minute) AS minute) AS due
    JOIN rate
      ON rate.call_type = call.call_type
     AND due.minute_start >= rate.valid_from AND due.minute_start < rate.valid_until),
priced AS MATERIALIZED (
  SELECT due.*,
         sum(coins) OVER (PARTITION BY payer ORDER BY minute_start, call_id
                           ROWS UNBOUNDED PRECEDING)::bigint AS total
    FROM due),
per_call AS MATERIALIZED (
  SELECT call_id, count(*)::int AS minutes, sum(coins)::bigint AS coins,
         (count(*) FILTER (WHERE waived))::int AS waived
    FROM priced
   WHERE total <= balance
   GROUP BY call_id),
per_wallet AS MATERIALIZED (
  SELECT wallet_id, max(total) AS coins
    FROM priced
   WHERE total <= balance AND wallet_id IS NOT NULL
   GROUP BY wallet_id),
short AS MATERIALIZED (
  SELECT DISTINCT ON (payer) payer, call_id
    FROM priced
   WHERE total > balance
   ORDER BY payer, minute_start, call_id),
wallets AS (
  UPDATE public.user_wallets AS w
     SET balance_coins = w.balance_coins - per_wallet.coins, updated_at = now()
    FROM per_wallet
   WHERE w.wallet_id = per_wallet.wallet_id AND per_wallet.coins > 0
  RETURNING w.balance_coins),
transactions AS (
  INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change, money_change)
  SELECT wallet_id, 'spend', -coins, 0
    FROM priced
   WHERE total <= balance AND coins > 0),
calls AS (
  UPDATE public.user_calls AS c
     SET coins_spent = coalesce(c.coins_spent, 0) + per_call.coins, updated_at = now()
    FROM per_call
   WHERE c.call_id = per_call.call_id AND per_call.coins > 0),
ledger AS (
  INSERT INTO saathii_tasks.call_charge
         (call_id, minute, user_id, coins, minute_start, source, balance_after)
  SELECT call_id, minute, coalesce(user_id, 0), coins, minute_start,
         CASE WHEN waived THEN 'waived' ELSE 'saathiid' END::saathii_tasks.charge_source,
         balance - total
    FROM priced
   WHERE total <= balance
   UNION ALL
  -- What the API had taken, so that the ledger holds every paid minute: once the
  -- call has a minute due; "open" does it for calls that end before.
  SELECT call_id, minute, coalesce(user_id, 0),
         CASE minute WHEN 1 THEN coins_spent - (opening - 1) * start_rate ELSE start_rate END,
         start_time + (minute - 1) * $4::interval, 'api', NULL
    FROM call
   CROSS JOIN LATERAL generate_series(1, opening) AS minute
   WHERE is_new),
after AS MATERIALIZED (
  SELECT call.*, coalesce(per_call.minutes, 0) AS minutes, coalesce(per_call.coins, 0) AS coins,
         coalesce(per_call.waived, 0) AS waived,
         call.balance - coalesce(per_wallet.coins, 0) AS balance_left,
         coalesce(short.call_id = call.call_id, false) AS is_short,
         short.payer IS NOT NULL AS is_judged_again
    FROM call
    LEFT JOIN per_call ON per_call.call_id = call.call_id
    LEFT JOIN per_wallet ON per_wallet.wallet_id = call.wallet_id
    LEFT JOIN short ON short.payer = call.payer),
expected AS (
  SELECT party.user_id,
         least(max(paid + minutes + balance_left / next_rate), 2147483647)::int AS wait_time
    FROM after
   CROSS JOIN LATERAL (VALUES (user_id), (listener_id)) AS party (user_id)
   WHERE NOT is_judged_again AND NOT is_closing
   GROUP BY party.user_id),
-- A row that a heartbeat holds is not waited for: the next minute sets it.
differing AS (
  SELECT status.user_id, expected.wait_time
    FROM public.user_status AS status
    JOIN expected ON expected.user_id = status.user_id
   WHERE status.wait_time IS DISTINCT FROM expected.wait_time
   ORDER BY status.user_id
     FOR NO KEY UPDATE OF status SKIP LOCKED),
statuses AS (
  UPDATE public.user_status AS status
     SET wait_time = differing.wait_time, updated_at = now()
    FROM differing
   WHERE status.user_id = differing.user_id)
SELECT call_id, user_id, listener_id, call_type, floor(date_part('epoch', start_time))::bigint,
       coins_spent + coins, minutes, coins, waived, is_short, balance_left,
       balance_left / next_rate AS minutes_left,
       is_new OR balance / next_rate > 1 AS had_more,
       -- A wallet that was made after the locks were had may have changed since.
       coalesce((SELECT min(balance_coins) FROM wallets), 0) < 0 AS is_overdrawn
  FROM after
 ORDER BY call_id

-- name: ensure_listener_wallets
-- $1 call ids.
INSERT INTO public.user_wallets (user_id, balance_coins, withdrawable_money)
SELECT DISTINCT c.listener_id, 0, 0
  FROM public.user_calls AS c
 WHERE c.call_id = ANY ($1::int[]) AND c.status = 'ongoing' AND c.listener_id IS NOT NULL
   AND NOT EXISTS (SELECT FROM public.user_wallets AS w WHERE w.user_id = c.listener_id)
 ORDER BY c.listener_id
    ON CONFLICT (user_id) DO NOTHING

-- name: lock_party_wallets
-- $1 call ids.
WITH locked AS (
  SELECT user_id
    FROM public.user_wallets
   WHERE user_id IN (SELECT unnest(ARRAY[user_id, listener_id])
                       FROM public.user_calls
                      WHERE call_id = ANY ($1::int[]))
   ORDER BY user_id
     FOR NO KEY UPDATE)
SELECT count(*) FROM locked

-- name: lock_statuses
-- $1 call ids. Before settle, so that it sees the calls of whoever has just set
-- a party busy, and so that a heartbeat cannot come between its reading and ours.
WITH locked AS (
  SELECT user_id
    FROM public.user_status
   WHERE user_id IN (SELECT unnest(ARRAY[user_id, listener_id])
                       FROM public.user_calls
                      WHERE call_id = ANY ($1::int[]))
   ORDER BY user_id
     FOR NO KEY UPDATE)
SELECT count(*) FROM locked

-- name: open
-- $1 call ids, locked, that are about to end. $2 T. $3 the length of a minute.
-- What the API had taken for those that were never charged here, so that the
-- ledger holds every coin and minute that was paid.
INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins, minute_start, source)
SELECT c.call_id, minute, coalesce(c.user_id, 0),
       CASE minute WHEN 1 THEN c.coins_spent - (opening.minutes - 1) * coalesce(at_start.coins, 0)
                   ELSE at_start.coins END,
       c.start_time + (minute - 1) * $3::interval, 'api'
  FROM public.user_calls AS c
  LEFT JOIN LATERAL (SELECT coins
                       FROM saathii_tasks.coin_rate
                      WHERE call_type = c.call_type AND valid_from <= c.start_time
                      ORDER BY valid_from DESC
                      LIMIT 1) AS at_start ON true
 CROSS JOIN LATERAL (
       SELECT greatest(1, least(coalesce(c.coins_spent / at_start.coins, 1),
                                floor(date_part('epoch', $2::timestamptz - c.start_time)
                                      / date_part('epoch', $3::interval))::bigint + 1))::int
                AS minutes) AS opening
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
       earning.minutes, earning.coins, earning.earned
  FROM ended
  JOIN earning ON earning.call_id = ended.call_id
 ORDER BY ended.call_id

-- name: rate_bounds
-- What the scan for due calls needs of the rates: the latest and the highest of
-- each call type, and when the latest of them came into force.
SELECT (SELECT coins FROM saathii_tasks.coin_rate WHERE call_type = 'audio'
         ORDER BY valid_from DESC LIMIT 1),
       (SELECT max(coins) FROM saathii_tasks.coin_rate WHERE call_type = 'audio'),
       (SELECT coins FROM saathii_tasks.coin_rate WHERE call_type = 'video'
         ORDER BY valid_from DESC LIMIT 1),
       (SELECT max(coins) FROM saathii_tasks.coin_rate WHERE call_type = 'video'),
       (SELECT max(valid_from) FROM saathii_tasks.coin_rate)

-- name: no_longer_ongoing
-- $1 call ids. Those that have ended, or are gone.
SELECT coalesce(array_agg(given.call_id), '{}')
  FROM unnest($1::int[]) AS given (call_id)
 WHERE NOT EXISTS (SELECT FROM public.user_calls AS c
                    WHERE c.call_id = given.call_id AND c.status = 'ongoing')

-- name: drifted
-- $1 call ids, $2 the coins_spent that was shown of each. Where that is no longer
-- true: what it is now, NULL for a call that has ended or is gone.
SELECT given.call_id, CASE WHEN c.call_id IS NOT NULL THEN coalesce(c.coins_spent, 0) END
  FROM unnest($1::int[], $2::bigint[]) AS given (call_id, coins_spent)
  LEFT JOIN public.user_calls AS c ON c.call_id = given.call_id AND c.status = 'ongoing'
 WHERE c.call_id IS NULL OR coalesce(c.coins_spent, 0) <> given.coins_spent

-- name: ongoing_page
-- $1 only calls after this id, $2 at most so many: what Redis should hold.
SELECT call_id, user_id, listener_id, call_type, floor(date_part('epoch', start_time))::bigint,
       coalesce(coins_spent, 0)
  FROM public.user_calls
 WHERE status = 'ongoing' AND call_id > $1::int
 ORDER BY call_id
 LIMIT $2::int
