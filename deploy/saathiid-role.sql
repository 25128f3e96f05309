-- The least that the daemon needs. Run it as the owner of the platform's tables,
-- after `saathiid --migrate`, and again after every upgrade:
--   psql "$OWNER_URL" -f saathiid-role.sql
-- The first time it makes the role, which takes a superuser or a role with
-- CREATEROLE: if the owner is neither, let one of them run
--   CREATE ROLE saathiid LOGIN;
-- before. Then give the role a password of its own: \password saathiid
-- OWNER_URL holds no password, which all users of the host could see meanwhile:
-- that one is in ~/.pgpass or in PGPASSWORD.
\set ON_ERROR_STOP on
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'saathiid') THEN
    CREATE ROLE saathiid LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
  END IF;
END
$$;

GRANT USAGE ON SCHEMA public, saathii_tasks TO saathiid;

-- The platform's tables: read what jobs look at, write what they must leave behind.
GRANT SELECT ON public.users, public.user_roles, public.user_wallets, public.user_status,
                public.user_calls, public.listener_badges TO saathiid;
-- Read for saathiictl wallet alone.
GRANT SELECT ON public.user_transactions TO saathiid;
GRANT UPDATE (balance_coins, withdrawable_money, updated_at) ON public.user_wallets TO saathiid;
GRANT INSERT (user_id, balance_coins, withdrawable_money) ON public.user_wallets TO saathiid;
GRANT INSERT (wallet_id, tx_type, coins_change, money_change) ON public.user_transactions TO saathiid;
GRANT UPDATE (is_online, is_busy, wait_time, updated_at) ON public.user_status TO saathiid;
GRANT UPDATE (end_time, duration_seconds, duration_minutes, coins_spent, listener_money_earned,
              status, updated_at) ON public.user_calls TO saathiid;
GRANT INSERT, UPDATE ON public.listener_badges TO saathiid;
GRANT USAGE ON SEQUENCE public.user_wallets_wallet_id_seq,
                        public.user_transactions_transaction_id_seq TO saathiid;

-- Its own schema: data, never its shape.
GRANT EXECUTE ON FUNCTION saathii_tasks.present_term() TO saathiid;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA saathii_tasks TO saathiid;
