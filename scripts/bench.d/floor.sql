-- The floor: the rows of one run, written by plain statements that ask nothing.
-- Every ongoing call is due minute %(minute)s; nobody is short of coins.
UPDATE public.user_wallets AS w
   SET balance_coins = w.balance_coins - CASE c.call_type WHEN 'video' THEN 60 ELSE 10 END,
       updated_at = now()
  FROM public.user_calls AS c
 WHERE c.status = 'ongoing' AND w.user_id = c.user_id;

INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change, money_change)
SELECT w.wallet_id, 'spend', CASE c.call_type WHEN 'video' THEN -60 ELSE -10 END, 0
  FROM public.user_calls AS c
  JOIN public.user_wallets AS w ON w.user_id = c.user_id
 WHERE c.status = 'ongoing';

UPDATE public.user_calls
   SET coins_spent = coins_spent + CASE call_type WHEN 'video' THEN 60 ELSE 10 END,
       updated_at = now()
 WHERE status = 'ongoing';

INSERT INTO saathii_tasks.call_charge
       (call_id, minute, user_id, coins, minute_start, source, balance_after)
SELECT c.call_id, %(minute)s, c.user_id, CASE c.call_type WHEN 'video' THEN 60 ELSE 10 END,
       c.start_time + (%(minute)s - 1) * interval '1 minute', 'saathiid', w.balance_coins
  FROM public.user_calls AS c
  JOIN public.user_wallets AS w ON w.user_id = c.user_id
 WHERE c.status = 'ongoing';
