"""What was found of each invariant, for people and for programs."""

import dataclasses
import json

SHOWN_VIOLATIONS = 5

TITLES = {
    1: "each (call, minute) is charged at most once",
    2: "charged minutes have no gap and reach up to now, or to the end",
    3: "each wallet is its opening plus its transactions",
    4: "coins_spent of each call is the sum of its charges",
    5: "no balance was ever below 0",
    6: "no minute is charged that starts after the call's end",
    7: "a call was dropped only where a rule allows it",
    8: "one exact settlement for each call that saathiid ended",
    9: "busy is who has an ongoing call",
    10: "Redis says what PostgreSQL says",
}


@dataclasses.dataclass
class Finding:
    number: int
    looked_at: str = ""
    violations: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)

    def wrong(self, text):
        self.violations.append(text)


def print_report(tables, findings, out):
    charges = sum(map(len, tables.charges.values()))
    print(f"Recount: {len(tables.calls):,} calls, {charges:,} ledger rows,"
          f" {len(tables.settlements):,} settlements, {len(tables.wallets):,} wallets", file=out)
    for finding in findings:
        verdict = f"{len(finding.violations)} WRONG" if finding.violations else "holds"
        print(f"  {finding.number:>2}  {TITLES[finding.number]:<64} {verdict:<8}"
              f" {finding.looked_at}", file=out)
        for text in finding.violations[:SHOWN_VIOLATIONS]:
            print(f"        - {text}", file=out)
        more = len(finding.violations) - SHOWN_VIOLATIONS
        if more > 0:
            print(f"        - and {more} more", file=out)
    for finding in findings:
        for note in finding.notes:
            print(f"      note: {note}", file=out)
    wrong = sum(bool(finding.violations) for finding in findings)
    print("Verdict: every invariant holds." if wrong == 0
          else f"Verdict: {wrong} of {len(findings)} invariants do NOT hold.", file=out)


def print_json(findings, out):
    print(json.dumps([{"invariant": finding.number, "title": TITLES[finding.number],
                       "looked_at": finding.looked_at, "violations": finding.violations}
                      for finding in findings]), file=out)
