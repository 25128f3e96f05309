-- The books of a platform that saathiid has charged for sixty days: calls of some
-- minutes each, with every charge, transaction and run that belongs to them, and
-- nothing wrong. Every twentieth call was dropped because its caller ran out.
-- Charges lie in the order in which they were made, as they do in life.
SET LOCAL session_replication_role = replica;

INSERT INTO saathii_tasks.coin_rate (call_type, valid_from, coins)
VALUES ('audio', '-infinity', 10), ('video', '-infinity', 60);
INSERT INTO saathii_tasks.minute_length (valid_from, length) VALUES ('-infinity', '1 minute');

INSERT INTO public.users (user_id, username, sex, dob, phone)
SELECT n, 'u' || n, CASE WHEN n %% 2 = 0 THEN 'male' ELSE 'female' END, '1995-01-01',
       lpad(n::text, 10, '0')
  FROM generate_series(1, %(users)s * 2) AS n;

INSERT INTO public.user_status (user_id, is_online, is_busy, last_seen)
SELECT n, false, false, now() FROM generate_series(1, %(users)s * 2) AS n;

-- A run each minute, which charges what had started by then.
INSERT INTO saathii_tasks.job_run (job, scheduled_at, last_scheduled_at, outcome, run_id,
                                   started_at, finished_at, recorded_at, counts)
SELECT 'coin_deduction', at, at, 'succeeded', gen_random_uuid(), at, at + interval '1 second',
       at + interval '1 second', '{"held": 0}'
  FROM generate_series(date_trunc('minute', now()) - interval '61 days',
                       date_trunc('minute', now()), interval '1 minute') AS at;

CREATE TEMP TABLE talk ON COMMIT DROP AS
SELECT n AS call_id, 1 + n::bigint * 7919 %% %(users)s AS user_id,
       %(users)s + 1 + n::bigint * 6007 %% %(users)s AS listener_id, start_time, end_time,
       n %% 20 = 0 AS is_dropped,
       greatest(1, floor(extract(epoch FROM date_trunc('minute', end_time) - start_time) / 60)::int
                   + 1) AS minutes
  FROM (SELECT n,
               now() - interval '60 days' + n * (interval '59 days' / %(calls)s) AS start_time,
               CASE WHEN n %% 20 = 0
                    -- By a run, at the first minute that could not be paid.
                    THEN date_trunc('minute', now() - interval '60 days'
                                              + n * (interval '59 days' / %(calls)s)
                                              + interval '1 minute' * (5 + n %% 5))
                    ELSE now() - interval '60 days' + n * (interval '59 days' / %(calls)s)
                         + interval '1 second' * (330 + n::bigint * 7 %% 300) END AS end_time
          FROM generate_series(1, %(calls)s) AS n) AS drawn;
UPDATE talk
   SET minutes = greatest(1, ceil(extract(epoch FROM end_time - start_time) / 60)::int - 1)
 WHERE is_dropped;

INSERT INTO public.user_calls (call_id, user_id, listener_id, call_type, start_time, end_time,
                               duration_seconds, duration_minutes, coins_spent,
                               listener_money_earned, status)
SELECT call_id, user_id, listener_id, 'audio', start_time, end_time,
       floor(extract(epoch FROM end_time - start_time)),
       greatest(1, floor(extract(epoch FROM end_time - start_time) / 60)), minutes * 10, minutes,
       CASE WHEN is_dropped THEN 'dropped' ELSE 'completed' END
  FROM talk
 ORDER BY call_id;

INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins, minute_start, source,
                                       balance_after, charged_at)
SELECT call_id, minute, user_id, 10, start_time + (minute - 1) * interval '1 minute',
       CASE minute WHEN 1 THEN 'api' ELSE 'saathiid' END::saathii_tasks.charge_source,
       CASE WHEN minute > 1 THEN (minutes - minute) * 10 + CASE WHEN is_dropped THEN 5 ELSE 500 END
            END,
       date_trunc('minute', start_time + greatest(minute, 2) * interval '1 minute')
  FROM talk
 CROSS JOIN LATERAL generate_series(1, minutes) AS minute
 ORDER BY start_time + greatest(minute, 2) * interval '1 minute';

INSERT INTO saathii_tasks.call_settlement (call_id, user_id, listener_id, reason, end_time,
                                           minutes, coins, earned, settled_at)
SELECT call_id, user_id, listener_id, 'balance', end_time, minutes, minutes * 10, minutes, end_time
  FROM talk
 WHERE is_dropped;

INSERT INTO public.user_wallets (wallet_id, user_id, balance_coins, withdrawable_money)
SELECT n, n, 500, coalesce(earned.money, 0)
  FROM generate_series(1, %(users)s * 2) AS n
  LEFT JOIN (SELECT listener_id, sum(minutes) AS money FROM talk GROUP BY listener_id) AS earned
    ON earned.listener_id = n;

INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change)
SELECT n, 'purchase', 500 + coalesce(spent.coins, 0)
  FROM generate_series(1, %(users)s * 2) AS n
  LEFT JOIN (SELECT user_id, sum(minutes) * 10 AS coins FROM talk GROUP BY user_id) AS spent
    ON spent.user_id = n;
INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change, created_at)
SELECT user_id, 'spend', -coins, charged_at FROM saathii_tasks.call_charge;
INSERT INTO public.user_transactions (wallet_id, tx_type, money_change, created_at)
SELECT listener_id, 'earn', minutes, end_time FROM talk;

INSERT INTO saathii_tasks.audit_baseline (wallet_id, coins, money, taken_at)
VALUES (0, 0, 0, now());
