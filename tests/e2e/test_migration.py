"""What saathiid-migration(7) promises, with the statements that stand there."""

import re
import unittest

import platform_data as platform
from support import SOURCE, run
from test_service import Served

NO_REDIS = "redis://127.0.0.1:1"


def statement(begin):
    """The statement of the page that begins so."""
    page = (SOURCE / "deploy/man/saathiid-migration.7").read_text()
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", page, re.MULTILINE | re.DOTALL)
    found = [block for block in blocks if block.startswith(begin)]
    assert len(found) == 1, begin
    return found[0]


class Migration(Served):
    database = "migration"
    calls = 0

    def add_call(self, age_s, balance=1000):
        """A call of the API's: its first minute is paid."""
        self.calls += 1
        platform.add_call(self.postgres, self.database, self.calls, age_s, balance)
        return self.calls

    def script_charges(self, call_id, minutes=1):
        """As a script did it: coins move, and nobody remembers for which minutes."""
        coins = 10 * minutes
        self.query(
            f"UPDATE user_calls SET coins_spent = coins_spent + {coins} WHERE call_id = {call_id};"
            f"UPDATE user_wallets SET balance_coins = balance_coins - {coins}"
            f" WHERE user_id = {2 * call_id};"
            "INSERT INTO user_transactions (wallet_id, tx_type, coins_change)"
            f" SELECT wallet_id, 'spend', -{coins} FROM user_wallets"
            f" WHERE user_id = {2 * call_id};")

    def a_minute_passes(self, call_id):
        self.query("UPDATE user_calls SET start_time = start_time - interval '1 minute'"
                   f" WHERE call_id = {call_id};"
                   "UPDATE saathii_tasks.call_charge"
                   " SET minute_start = minute_start - interval '1 minute'"
                   f" WHERE call_id = {call_id};")

    def charge(self, *more, **env):
        done = run("--config", self.config, "--once", "coin_deduction", *more, **env)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def spent(self, call_id):
        """What the call cost, and what is left of 1000 coins."""
        rows = self.query("SELECT coins_spent, balance_coins FROM user_calls JOIN user_wallets"
                          f" USING (user_id) WHERE call_id = {call_id}")
        return tuple(map(int, rows[0]))

    def limit_catching_up(self):
        self.config.write_text(self.config.read_text().replace(
            "[jobs.coin_deduction]", "[jobs.coin_deduction]\ncharge_catch_up_limit = 1"))

    def test_the_page_names_jobs_that_there_are(self):
        page = (SOURCE / "deploy/man/saathiid-migration.7").read_text()
        rehearsal = re.search(r"^ +(--once .*) --at", page, re.MULTILINE).group(1).split()
        moment = self.query("SELECT to_char(now() AT TIME ZONE 'UTC',"
                            " 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")[0][0]
        call = self.add_call(age_s=185)
        done = run("--config", self.config, *rehearsal, "--at", moment, REDIS_URL=NO_REDIS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.spent(call), (40, 970))
        rows = self.query(statement("SELECT call_id, count(*), sum(coins)"))
        self.assertEqual(rows, [[str(call), "3", "30"]])

    def test_what_the_script_charged_is_paid(self):
        call = self.add_call(age_s=185)
        self.script_charges(call, minutes=2)
        self.charge()
        self.assertEqual(self.spent(call), (40, 970))
        self.charge()
        self.assertEqual(self.spent(call), (40, 970))

    def test_what_the_script_left_out_can_be_waived(self):
        call = self.add_call(age_s=1000)
        self.script_charges(call)
        self.limit_catching_up()
        self.charge()
        self.assertEqual(self.spent(call), (30, 980))

    def test_a_script_that_still_runs_is_found(self):
        check = statement("SELECT c.call_id, c.coins_spent, ledger.coins")
        call = self.add_call(age_s=185)
        self.charge()
        self.assertEqual(self.query(check), [])
        self.script_charges(call)
        self.assertEqual(self.query(check), [[str(call), "50", "40"]])

    def test_back_and_forward_again(self):
        """A script goes on with two calls that saathiid had begun to charge."""
        call, forgotten = self.add_call(age_s=185), self.add_call(age_s=185)
        self.charge()
        for each in (call, forgotten):
            self.a_minute_passes(each)
            self.script_charges(each)
            self.assertEqual(self.spent(each), (50, 960))
            self.a_minute_passes(each)
        # Without the page's statement a minute is charged twice.
        self.query(statement("DELETE FROM saathii_tasks.call_charge").replace(
            ";", f" AND c.call_id <> {forgotten};"))
        self.charge()
        self.assertEqual(self.spent(call), (60, 950))
        self.assertEqual(self.spent(forgotten), (70, 940))

    def test_leaving_for_good(self):
        self.query((SOURCE / "deploy/saathiid-role.sql").read_text())
        self.add_call(age_s=185)
        self.charge()
        self.query(statement("DROP SCHEMA"))
        self.assertEqual(self.query(
            "SELECT relname FROM pg_class WHERE relname LIKE '%saathii%' UNION "
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%saathii%' UNION "
            "SELECT rolname FROM pg_roles WHERE rolname LIKE '%saathii%'"), [])
        self.assertEqual(self.spent(1), (40, 970))


if __name__ == "__main__":
    unittest.main()
