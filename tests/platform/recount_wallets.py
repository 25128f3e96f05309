"""Invariants 3, 4 and 5: wallets, their transactions, and what calls have cost."""

from decimal import Decimal


def check_wallets(facts, findings):
    sums, never_below = findings[3], findings[5]
    count = 0
    for wallet in facts.tables.wallets:
        opening = facts.tables.openings.get(wallet.wallet_id)
        coins, money = (opening.coins, opening.money) if opening else (0, Decimal(0))
        for row in facts.tables.transactions[wallet.wallet_id]:
            count += 1
            coins += row.coins
            money += row.money
            if coins < 0:
                never_below.wrong(f"user {wallet.user_id}: {coins} coins after transaction"
                                  f" {row.transaction_id}")
        if wallet.coins < 0 or wallet.money < 0:
            never_below.wrong(f"user {wallet.user_id}: {wallet.coins} coins,"
                              f" {wallet.money} rupees")
        if coins != wallet.coins or money != wallet.money:
            sums.wrong(f"user {wallet.user_id}: wallet says {wallet.coins} coins and"
                       f" {wallet.money} rupees, transactions {coins} and {money}")
    sums.looked_at = f"{len(facts.tables.wallets):,} wallets, {count:,} transactions"
    never_below.looked_at = f"{len(facts.tables.wallets):,} wallets at every step"


def check_coins_spent(facts, findings):
    finding = findings[4]
    count = 0
    for call in facts.tables.calls.values():
        taken = facts.api_coins(call.call_id)
        if taken is None and call.call_id not in facts.tables.charges:
            continue
        count += 1
        if call.call_id not in facts.tables.charges:
            if call.coins != taken:
                finding.wrong(f"call {call.call_id}: {call.coins} coins, but only the API"
                              f" charged it: {taken}")
            continue
        rows = facts.kept(call.call_id)
        if call.coins != sum(row.coins for row in rows):
            finding.wrong(f"call {call.call_id}: {call.coins} coins, its charges are"
                          f" {sum(row.coins for row in rows)}")
        first = sum(row.coins for row in facts.tables.charges[call.call_id]
                    if row.source == "api")
        if taken is not None and first != taken:
            finding.wrong(f"call {call.call_id}: the API took {taken} coins, the ledger has"
                          f" {first} of its")
    finding.looked_at = f"{count:,} calls"
