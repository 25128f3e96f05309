-- What `saathiictl audit --repair` and --baseline write. A repair is a row that
-- makes good, never a change of what is written: money that moves has a
-- transaction of its own, in the same transaction as the wallet. Each locks the
-- call, then the wallet, and looks again whether it is still needed.

-- name: late_minutes
-- $1 call ids, $2 limit. Minutes charged that start after the end of their call;
-- wallet_id NULL where there is none any more, and paid_out where a settlement has
-- paid the listener for the minute.
SELECT h.call_id, h.minute, h.user_id, h.coins, w.wallet_id,
       EXISTS (SELECT FROM saathii_tasks.call_settlement AS s
                WHERE s.call_id = h.call_id AND s.settled_at >= h.charged_at) AS paid_out
  FROM saathii_tasks.call_charge AS h
  JOIN public.user_calls AS c ON c.call_id = h.call_id
  LEFT JOIN public.user_wallets AS w ON w.user_id = h.user_id
 WHERE h.call_id = ANY ($1::int[]) AND h.refunded_at IS NULL
   AND c.status <> 'ongoing' AND h.minute_start > c.end_time
 ORDER BY h.call_id, h.minute
 LIMIT $2::bigint

-- name: lock_call
-- $1 call id.
SELECT call_id FROM public.user_calls WHERE call_id = $1::int FOR NO KEY UPDATE

-- name: lock_wallet
-- $1 user id.
SELECT wallet_id FROM public.user_wallets WHERE user_id = $1::int FOR NO KEY UPDATE

-- name: give_back
-- $1 call id, $2 minute, $3 user id, $4 coins: call and wallet are locked. Nothing
-- unless that minute, charged for that, still is one after the end. Returns
-- whether it was given back.
WITH late AS (
  UPDATE saathii_tasks.call_charge AS h
     SET refunded_at = clock_timestamp()
    FROM public.user_calls AS c
   WHERE h.call_id = $1::int AND h.minute = $2::int AND h.user_id = $3::int
     AND h.coins = $4::bigint AND h.refunded_at IS NULL
     AND c.call_id = h.call_id AND c.status <> 'ongoing' AND h.minute_start > c.end_time
     AND NOT EXISTS (SELECT FROM saathii_tasks.call_settlement AS s
                      WHERE s.call_id = h.call_id AND s.settled_at >= h.charged_at)
     AND EXISTS (SELECT FROM public.user_wallets AS w WHERE w.user_id = h.user_id)
  RETURNING h.call_id, h.user_id, h.coins),
spent AS (
  UPDATE public.user_calls AS c
     SET coins_spent = c.coins_spent - late.coins, updated_at = now()
    FROM late
   WHERE c.call_id = late.call_id AND late.coins > 0),
returned AS (
  INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change, money_change)
  SELECT w.wallet_id, 'spend', late.coins, 0
    FROM late
    JOIN public.user_wallets AS w ON w.user_id = late.user_id
   WHERE late.coins > 0),
credited AS (
  UPDATE public.user_wallets AS w
     SET balance_coins = coalesce(w.balance_coins, 0) + late.coins, updated_at = now()
    FROM late
   WHERE w.user_id = late.user_id AND late.coins > 0)
SELECT count(*) FROM late

-- name: missing_spends
-- $1 user ids. $2 what calls that started before have cost is not asked for. Whose
-- wallet was charged, so says the baseline, for more than its spends tell: by how
-- much.
WITH wallet AS MATERIALIZED (
  SELECT wallet_id, user_id, coalesce(balance_coins, 0) AS coins
    FROM public.user_wallets
   WHERE user_id = ANY ($1::int[])),
moved AS (
  SELECT t.wallet_id, sum(t.coins_change) AS coins,
         coalesce(-sum(t.coins_change) FILTER (WHERE t.tx_type = 'spend' AND t.coins_change < 0), 0)
           AS spent
    FROM public.user_transactions AS t
   WHERE t.wallet_id IN (SELECT wallet_id FROM wallet)
   GROUP BY t.wallet_id),
missing AS (
  SELECT w.user_id, w.wallet_id,
         coalesce((SELECT sum(c.coins_spent) FROM public.user_calls AS c
                    WHERE c.user_id = w.user_id AND c.start_time >= $2::timestamptz), 0)
           + coalesce((SELECT sum(h.coins) FROM saathii_tasks.call_charge AS h
                        WHERE h.user_id = w.user_id AND h.refunded_at IS NOT NULL), 0)
           - coalesce(m.spent, 0) AS coins,
         coalesce(b.coins, 0) + coalesce(m.coins, 0) - w.coins AS by_baseline
    FROM wallet AS w
    LEFT JOIN moved AS m ON m.wallet_id = w.wallet_id
    LEFT JOIN saathii_tasks.audit_baseline AS b ON b.wallet_id = w.wallet_id
   WHERE EXISTS (SELECT FROM saathii_tasks.audit_baseline WHERE wallet_id = 0))
SELECT user_id, wallet_id, coins::bigint
  FROM missing
 WHERE coins > 0 AND coins = by_baseline
 ORDER BY user_id

-- name: add_spend
-- $1 wallet id, locked, $2 coins that it has spent. The wallet itself is right.
INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change, money_change)
VALUES ($1::int, 'spend', -$2::bigint, 0)

-- name: missing_settlements
-- $1 call ids. $2 time zone. $3, $4 the basic badge's rupees a minute, audio and
-- video. Calls that were dropped, and whose listener was paid by nobody. One with
-- an "earn" of the listener's within minutes of the end may have been paid by
-- somebody who did not say so; wallet_id is NULL where there is none.
WITH dropped AS MATERIALIZED (
  SELECT c.call_id, c.user_id, c.listener_id, c.call_type, c.end_time, w.wallet_id
    FROM public.user_calls AS c
    LEFT JOIN public.user_wallets AS w ON w.user_id = c.listener_id
   WHERE c.call_id = ANY ($1::int[]) AND c.status = 'dropped' AND c.end_time IS NOT NULL
     AND c.listener_id IS NOT NULL AND coalesce(c.listener_money_earned, 0) = 0
     AND NOT EXISTS (SELECT FROM saathii_tasks.call_settlement AS s WHERE s.call_id = c.call_id)),
earns AS MATERIALIZED (
  SELECT t.wallet_id, t.created_at
    FROM public.user_transactions AS t
   WHERE t.tx_type = 'earn' AND t.wallet_id IN (SELECT wallet_id FROM dropped)),
earning AS (
  SELECT d.call_id, count(*)::int AS minutes, sum(h.coins)::bigint AS coins,
         sum(CASE WHEN d.call_type = 'video' THEN coalesce(b.video_rate_per_minute, $4::numeric)
                  ELSE coalesce(b.audio_rate_per_minute, $3::numeric) END)::numeric(12,2)
           AS earned
    FROM dropped AS d
    JOIN saathii_tasks.call_charge AS h
      ON h.call_id = d.call_id AND h.refunded_at IS NULL AND h.source <> 'waived'
    LEFT JOIN public.listener_badges AS b
      ON b.listener_id = d.listener_id AND b.date = (h.minute_start AT TIME ZONE $2::text)::date
   GROUP BY d.call_id)
SELECT d.call_id, coalesce(d.user_id, 0), d.listener_id, d.wallet_id, e.minutes, e.coins, e.earned,
       EXISTS (SELECT FROM earns
                WHERE earns.wallet_id = d.wallet_id
                  AND earns.created_at BETWEEN d.end_time - interval '1 minute'
                                           AND d.end_time + interval '5 minutes') AS may_be_paid
  FROM dropped AS d
  JOIN earning AS e ON e.call_id = d.call_id
 WHERE e.earned >= 1
 ORDER BY d.call_id

-- name: settle
-- $1 call id, locked, the listener's wallet too. $2 minutes, $3 coins, $4 rupees
-- earned. $5 true where earnings are credited as whole coins. Returns whether it
-- was settled.
WITH settlement AS (
  INSERT INTO saathii_tasks.call_settlement
         (call_id, user_id, listener_id, reason, end_time, minutes, coins, earned)
  SELECT c.call_id, coalesce(c.user_id, 0), c.listener_id, 'repaired', c.end_time, $2::int,
         $3::bigint, $4::numeric
    FROM public.user_calls AS c
    JOIN public.user_wallets AS w ON w.user_id = c.listener_id
   WHERE c.call_id = $1::int AND c.status = 'dropped' AND coalesce(c.listener_money_earned, 0) = 0
      ON CONFLICT (call_id) DO NOTHING
  RETURNING call_id, listener_id,
            CASE WHEN $5::bool THEN floor(earned)::bigint ELSE 0 END AS coins,
            CASE WHEN $5::bool THEN 0 ELSE earned END AS money, earned),
earned AS (
  INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change, money_change)
  SELECT w.wallet_id, 'earn', settlement.coins, settlement.money
    FROM settlement
    JOIN public.user_wallets AS w ON w.user_id = settlement.listener_id),
credited AS (
  UPDATE public.user_wallets AS w
     SET balance_coins = coalesce(w.balance_coins, 0) + settlement.coins,
         withdrawable_money = coalesce(w.withdrawable_money, 0) + settlement.money,
         updated_at = now()
    FROM settlement
   WHERE w.user_id = settlement.listener_id),
calls AS (
  UPDATE public.user_calls AS c
     SET listener_money_earned = floor(settlement.earned)::bigint, updated_at = now()
    FROM settlement
   WHERE c.call_id = settlement.call_id)
SELECT count(*) FROM settlement


-- name: forget_baseline
DELETE FROM saathii_tasks.audit_baseline

-- name: take_baseline
-- What each wallet had before its first transaction; one that had nothing needs no
-- row. Row 0 tells when it was taken.
WITH opening AS MATERIALIZED (
  SELECT w.wallet_id, coalesce(w.balance_coins, 0) - coalesce(m.coins, 0) AS coins,
         coalesce(w.withdrawable_money, 0) - coalesce(m.money, 0) AS money
    FROM public.user_wallets AS w
    LEFT JOIN (SELECT wallet_id, sum(coins_change) AS coins, sum(money_change) AS money
                 FROM public.user_transactions
                GROUP BY wallet_id) AS m ON m.wallet_id = w.wallet_id),
written AS (
  INSERT INTO saathii_tasks.audit_baseline (wallet_id, coins, money, taken_at)
  SELECT wallet_id, coins, money, now() FROM opening WHERE coins <> 0 OR money <> 0
   UNION ALL
  SELECT 0, 0, 0, now()
  RETURNING wallet_id)
SELECT (SELECT count(*) FROM opening), (SELECT count(*) FROM written WHERE wallet_id <> 0)
