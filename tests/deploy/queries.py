#!/usr/bin/python3
"""Holds the alert rules and the dashboard to what saathiid really exposes.

    queries.py EXPOSITION     the text of /metrics of a daemon that has run its jobs

Every metric, label and value that a query, a legend or an annotation names must
be there. With promtool, Prometheus' own engine answers the queries, too.
"""

import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
RULES = SOURCE / "deploy/prometheus/saathiid.rules.yml"
DASHBOARD = SOURCE / "deploy/grafana/saathiid.json"
MANUAL = SOURCE / "deploy/man/saathiid-metrics.7"

# What Prometheus adds to whatever it scrapes.
TARGET = {"job": "saathiid", "instance": "127.0.0.1:9464"}
# Names that are set by a rule or an alert itself.
GIVEN_LABELS = {"le"}
KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
TOKEN = re.compile(r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<number>\d[\w.]*|\.\d+)
  | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
  | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){}\[\],@]))""", re.VERBOSE)

Query = collections.namedtuple("Query", "where expr")
Selector = collections.namedtuple("Selector", "metric matchers")
Series = collections.namedtuple("Series", "metric labels value")


class Unreadable(Exception):
    pass


def tokens_of(expr):
    tokens, at = [], 0
    expr = expr.rstrip()
    while at < len(expr):
        match = TOKEN.match(expr, at)
        if match is None:
            raise Unreadable(f"cannot read {expr[at:at + 20]!r}")
        tokens.append((match.lastgroup, match.group(match.lastgroup)))
        at = match.end()
    return tokens


def read_expr(expr):
    """The selectors of a PromQL expression, and the labels that it groups by."""
    tokens = tokens_of(expr)
    selectors, labels, at = [], set(), 0

    def sign(index):
        return tokens[index][1] if index < len(tokens) and tokens[index][0] == "sign" else ""

    while at < len(tokens):
        kind, word = tokens[at]
        at += 1
        if kind != "name" or word.lower() in KEYWORDS:
            continue
        if word.lower() in GROUPING:
            if sign(at) == "(":
                end = next(i for i in range(at, len(tokens)) if tokens[i][1] == ")")
                labels |= {text for what, text in tokens[at:end] if what == "name"}
                at = end + 1
            continue
        is_function = sign(at) == "(" or tokens[at:at + 1] in ([("name", "by")], [("name", "without")])
        if is_function:
            continue
        matchers = []
        if sign(at) == "{":
            at += 1
            while sign(at) != "}":
                name, how, value = (tokens[at + i][1] for i in range(3))
                matchers.append((name, how, value[1:-1].replace('\\"', '"')))
                at += 3
                at += sign(at) == ","
            at += 1
        selectors.append(Selector(word, matchers))
    return selectors, labels


def rule_queries():
    """The file's layout is ours: an `expr:` is on its line, or folded below it."""
    queries, alert, folded = [], None, None
    for line in RULES.read_text().splitlines() + [""]:
        if folded is not None:
            if line.startswith(" " * 10):
                folded.append(line.strip())
                continue
            queries.append(Query(alert, " ".join(folded)))
            folded = None
        if match := re.match(r"      - alert: (\w+)$", line):
            alert = match[1]
        elif match := re.match(r"        expr: (.*)$", line):
            if match[1] == ">-":
                folded = []
            else:
                queries.append(Query(alert, match[1]))
    if len(queries) != RULES.read_text().count("- alert:"):
        raise Unreadable(f"{RULES.name}: not every alert has an expression that can be read")
    return queries


def panels():
    found = json.loads(DASHBOARD.read_text())["panels"]
    return found + [inner for panel in found for inner in panel.get("panels", [])]


def dashboard_queries():
    queries = []
    for panel in panels():
        for target in panel.get("targets", []):
            expr = target["expr"]
            for variable, value in (("$__rate_interval", "5m"), ("$__range", "1h"),
                                    ("$instance", ".*")):
                expr = expr.replace(variable, value)
            queries.append(Query(panel["title"], expr))
    return queries


def labels_told():
    """The labels that legends and annotations show, by where they stand."""
    told = []
    for panel in panels():
        for target in panel.get("targets", []):
            told += [(panel["title"], name)
                     for name in re.findall(r"{{\s*(\w+)\s*}}", target.get("legendFormat", ""))]
    told += [(RULES.name, name) for name in re.findall(r"\$labels\.(\w+)", RULES.read_text())]
    return told


def read_exposition(text):
    """The series as Prometheus stores them."""
    series = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.match(r"(\w+)(?:\{(.*)\})? (\S+)$", line)
        if match is None:
            raise Unreadable(f"no series: {line}")
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
        series.append(Series(match[1], {**labels, **TARGET}, match[3]))
    series.append(Series("up", dict(TARGET), "1"))
    return series


def matches(series, selector):
    def holds(name, how, value):
        have = series.labels.get(name, "")
        equal = re.fullmatch(value, have) is not None if how in ("=~", "!~") else have == value
        return equal == (how in ("=", "=~"))
    return series.metric == selector.metric and all(holds(*m) for m in selector.matchers)


def problems(text):
    """What queries name that the exposition does not have."""
    all_series = read_exposition(text)
    metrics = {series.metric for series in all_series}
    label_names = {name for series in all_series for name in series.labels} | GIVEN_LABELS
    wrong = []
    for where, expr in rule_queries() + dashboard_queries():
        try:
            selectors, grouped = read_expr(expr)
        except Unreadable as error:
            wrong.append(f"{where}: {error}")
            continue
        if not selectors:
            wrong.append(f"{where}: no metric in {expr}")
        for selector in selectors:
            if selector.metric not in metrics:
                wrong.append(f"{where}: there is no metric {selector.metric}")
            elif not any(matches(series, selector) for series in all_series):
                wrong.append(f"{where}: no series of {selector.metric} matches {selector.matchers}")
        wrong += [f"{where}: no label {name} to group by" for name in grouped - label_names]
    wrong += [f"{where}: no label {name} to show" for where, name in labels_told()
              if name not in label_names]
    return wrong


def undocumented(text):
    """Metrics that the manual page does not tell of, or that it alone knows."""
    told = set(re.findall(r"^\.It Li (\w+)$", MANUAL.read_text(), re.MULTILINE))
    there = {match[1] for match in re.finditer(r"^# TYPE (\w+) ", text, re.MULTILINE)}
    # This one is there for kinds of others alone.
    return sorted(there - told), sorted(told - there - {"saathiid_job_count_total"})


def quoted(series):
    labels = ",".join(f'{name}="{value}"' for name, value in sorted(series.labels.items()))
    return f"{series.metric}{{{labels}}}"


def is_there(selector):
    """A query that is 1 where the selector finds anything."""
    matchers = ",".join(f"{name}{how}{json.dumps(value)}" for name, how, value in selector.matchers)
    return f"count({selector.metric}{{{matchers}}}) > bool 0"


def promtool_problems(text):
    """What promtool says: of the exposition's form, of the rules, and of each query's
    answer from the exposition's series as they would have stood for an hour."""
    wrong = []
    lint = run("check", "metrics", text=text)
    if lint.returncode != 0 or lint.stderr.strip():
        wrong.append(f"promtool check metrics: {lint.stdout}{lint.stderr}")
    rules = run("check", "rules", str(RULES))
    if rules.returncode != 0:
        wrong.append(f"promtool check rules: {rules.stdout}{rules.stderr}")
    queries = [is_there(selector) for query in rule_queries()
               for selector in read_expr(query.expr)[0]]
    # What a panel shows of trouble alone is empty while there is none.
    queries += [f"count({re.sub(r' (==|>) [01]$', '', query.expr)}) > bool 0"
                for query in dashboard_queries()]
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [{"series": quoted(series), "values": f"{number(series.value)}x60"}
                             for series in read_exposition(text)],
            "promql_expr_test": [{"expr": query, "eval_time": "60m",
                                  "exp_samples": [{"labels": "{}", "value": 1}]}
                                 for query in dict.fromkeys(queries)],
        }],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump(test, file)  # JSON is YAML
        file.flush()
        answered = run("test", "rules", file.name)
    if answered.returncode != 0:
        wrong.append(f"promtool test rules: {answered.stdout}{answered.stderr}")
    return wrong


def number(value):
    """As promtool's series take it: no exponent with a plus sign."""
    return f"{float(value):.9f}".rstrip("0").rstrip(".")


def has_promtool():
    return shutil.which("promtool") is not None


def run(*words, text=None):
    return subprocess.run(["promtool", *words], input=text, text=True, capture_output=True,
                          check=False)


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    text = pathlib.Path(sys.argv[1]).read_text()
    wrong = problems(text) + (promtool_problems(text) if has_promtool() else [])
    for problem in wrong:
        print(problem)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
