-- Ongoing calls of as many callers and listeners, every fifth a video call, as
-- the API leaves them: the first minute paid. Calls and users are in unrelated
-- orders, as they are on a platform that has lived for a while.
-- The foreign keys are true by construction and not looked up row by row.
SET LOCAL session_replication_role = replica;

INSERT INTO public.users (user_id, username, sex, dob, phone)
SELECT n, 'u' || n, CASE WHEN n %% 2 = 0 THEN 'male' ELSE 'female' END, '1995-01-01',
       lpad(n::text, 10, '0')
  FROM generate_series(1, %(calls)s * 2) AS n;

INSERT INTO public.user_wallets (wallet_id, user_id, balance_coins)
SELECT n, n, 100000 FROM generate_series(1, %(calls)s * 2) AS n;

INSERT INTO public.user_calls (call_id, user_id, listener_id, call_type, start_time, coins_spent)
SELECT n, 1 + n::bigint * 7919 %% %(calls)s, %(calls)s + 1 + n::bigint * 6007 %% %(calls)s,
       CASE WHEN n %% 5 = 0 THEN 'video' ELSE 'audio' END,
       %(start)s::timestamptz - random() * %(spread)s::interval,
       CASE WHEN n %% 5 = 0 THEN 60 ELSE 10 END
  FROM generate_series(1, %(calls)s) AS n;

INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change)
SELECT user_id, 'spend', -coins_spent FROM public.user_calls;

-- wait_time is the paid minute and those that the balance covers.
INSERT INTO public.user_status (user_id, is_online, is_busy, last_seen, wait_time)
SELECT party.user_id, true, true, %(seen)s::timestamptz, 1 + 100000 / coins_spent
  FROM public.user_calls
 CROSS JOIN LATERAL (VALUES (user_id), (listener_id)) AS party (user_id);

SELECT setval('public.users_user_id_seq', %(calls)s * 2),
       setval('public.user_wallets_wallet_id_seq', %(calls)s * 2),
       setval('public.user_calls_call_id_seq', %(calls)s);
