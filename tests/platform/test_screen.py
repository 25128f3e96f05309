#!/usr/bin/python3
"""The demo's screen fits any terminal, and says when coins do not add up."""

import datetime
import pathlib
import sys
import unittest
from decimal import Decimal

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts" / "demo.d"))

import screen  # noqa: E402
import watch  # noqa: E402

NOW = datetime.datetime(2026, 11, 22, 8, 33, 27, tzinfo=datetime.timezone.utc)


def state(calls=30, in_wallets=900):
    run = watch.Run("coin_deduction", NOW, "succeeded", "34 calls charged, 680 coins", NOW, NOW,
                    {"charged": 34})
    return watch.State(
        now=NOW, opening=1000, bought=50, first_minutes=20, charged=Decimal(140), given_back=10,
        in_wallets=in_wallets, charges=14, last_minute=140, earned=Decimal("12.50"), settlements=2,
        api_ends=1, api_starts=2, flow=[0] * 40 + list(range(20)),
        calls=[watch.Call(number, f"caller{number}", f"listen{number}", "audio", 61 * number, 10,
                          5 * number, 400 if number == 3 else 4, 10) for number in range(calls)],
        runs={"coin_deduction": run}, online=7, published=9)


def draw(given, size, colour=True):
    events = [watch.Event(NOW, kind, f"a {kind} event " * 9) for kind in screen.KIND_STYLES] * 5
    return screen.draw(given, events, ["a line of the log " * 12] * 9, "5 jobs; postgres up", 75,
                       {"coin_deduction": 3.2, "log_rotation": None}, colour, size)


class Screen(unittest.TestCase):
    def test_every_line_fits_every_terminal(self):
        for columns in (20, 59, 60, 80, 109, 110, 118, 200):
            for rows in (5, 20, 24, 34, 60):
                lines = draw(state(), (columns, rows))
                self.assertEqual(rows, len(lines), (columns, rows))
                self.assertEqual({columns}, set(map(screen.visible, lines)), (columns, rows))

    def test_an_empty_platform_is_drawn_too(self):
        self.assertEqual(34, len(draw(state(calls=0), (118, 34))))

    def test_without_colour_there_is_no_escape(self):
        self.assertNotIn("\x1b", "".join(draw(state(), (118, 34), colour=False)))

    def test_coins_that_do_not_add_up_are_shouted(self):
        self.assertIn("adds up", "\n".join(draw(state(), (140, 40))))
        self.assertIn("DOES NOT ADD UP", "\n".join(draw(state(in_wallets=899), (140, 40))))

    def test_one_burst_does_not_flatten_the_rest(self):
        self.assertEqual(" \u2581\u2588\u2588", screen.sparkline([0, 1, 9, 9000], 4))


if __name__ == "__main__":
    unittest.main()
