"""A little platform in a test's database, and the recount of what was charged."""

from support import wait_until


def add_call(postgres, database, call_id, age_s, balance, call_type="audio"):
    """A call that the API started so long ago: its first minute is paid. The
    balance is what is left after it. Caller 2n, listener 2n+1."""
    rate = {"audio": 10, "video": 60}[call_type]
    caller, listener = 2 * call_id, 2 * call_id + 1
    postgres.query(
        f"""
        INSERT INTO users (user_id, username, dob, phone)
          SELECT id, 'u' || id, '1990-01-01', '+91' || id FROM unnest(ARRAY[{caller}, {listener}]) id;
        INSERT INTO user_wallets (user_id, balance_coins)
          VALUES ({caller}, {balance}), ({listener}, 0);
        INSERT INTO user_status (user_id, is_online, is_busy, wait_time)
          SELECT id, true, true, {balance} / {rate} + 1
          FROM unnest(ARRAY[{caller}, {listener}]) id;
        INSERT INTO user_calls (call_id, user_id, listener_id, call_type, start_time, coins_spent)
          VALUES ({call_id}, {caller}, {listener}, '{call_type}',
                  now() - interval '{age_s} seconds', {rate});
        """,
        database)


def charged_minutes(postgres, database, call_id):
    rows = postgres.query(
        f"SELECT minute FROM saathii_tasks.call_charge WHERE call_id = {call_id} ORDER BY minute",
        database)
    return [int(row[0]) for row in rows]


def started_minutes(postgres, database, call_id):
    rows = postgres.query(
        "SELECT floor(extract(epoch FROM coalesce(end_time, now()) - start_time) / 60)::int + 1 "
        f"FROM user_calls WHERE call_id = {call_id}", database)
    return int(rows[0][0])


def wait_until_caught_up(postgres, database, call_id):
    """Until every minute that has started is charged."""
    def caught_up():
        minutes = charged_minutes(postgres, database, call_id)
        return minutes and minutes[-1] >= started_minutes(postgres, database, call_id)
    wait_until(f"call {call_id} to be charged up to now", caught_up)


def recount(case, postgres, database, opening):
    """Checks the contract's invariants; `opening` is each caller's balance before."""
    wrong = postgres.query(
        """
        SELECT 'coins_spent of call ' || c.call_id FROM user_calls c
          WHERE coalesce(c.coins_spent, 0) <> coalesce((SELECT sum(coins)
            FROM saathii_tasks.call_charge h WHERE h.call_id = c.call_id), c.coins_spent, 0)
        UNION ALL
        SELECT 'a gap in call ' || call_id FROM saathii_tasks.call_charge
          GROUP BY call_id HAVING max(minute) <> count(*) OR min(minute) <> 1
        UNION ALL
        SELECT 'below zero: wallet of ' || user_id FROM user_wallets WHERE balance_coins < 0
        UNION ALL
        SELECT 'a minute after the end of call ' || call_id
          FROM saathii_tasks.call_charge JOIN user_calls USING (call_id)
          WHERE end_time IS NOT NULL AND minute_start > end_time AND refunded_at IS NULL
        UNION ALL
        SELECT 'settlement of call ' || call_id FROM user_calls
          FULL JOIN saathii_tasks.call_settlement USING (call_id)
          WHERE (status = 'dropped') <> (settled_at IS NOT NULL);
        """, database)
    case.assertEqual(wrong, [])
    for user_id, balance in opening.items():
        rows = postgres.query(
            "SELECT w.balance_coins, coalesce(sum(t.coins_change), 0), "
            "(SELECT coalesce(sum(coins), 0) FROM saathii_tasks.call_charge "
            f" WHERE user_id = {user_id} AND source = 'saathiid') "
            "FROM user_wallets w LEFT JOIN user_transactions t USING (wallet_id) "
            f"WHERE w.user_id = {user_id} GROUP BY w.wallet_id", database)
        left, moved, charged = map(int, rows[0])
        case.assertEqual((left, moved), (balance - charged, -charged), f"wallet of {user_id}")
