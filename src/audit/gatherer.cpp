#include <algorithm>
#include <array>

#include "check.hpp"

namespace saathii::audit {

namespace {

struct Invariant {
  std::string_view name;
  std::string_view sentence;
};

constexpr std::array<Invariant, invariants> all = {{
    {"charged_once", "at most one charge for each minute of a call"},
    {"charged_minutes", "charged minutes have no gap and reach up to now, or to the end"},
    {"wallets", "each wallet is its opening balance and its transactions"},
    {"coins_spent", "coins_spent of each call is the sum of its charges"},
    {"balances", "no balance is below 0"},
    {"after_end", "no minute is charged that starts after the call's end"},
    {"drops", "a call is dropped only where a rule allows it"},
    {"settlements", "exactly one settlement for each call that saathiid ended"},
    {"busy", "busy is who has an ongoing call"},
    {"redis", "Redis shows what PostgreSQL says"},
}};

/// The platform's own doing, which is told and is no violation.
constexpr std::string_view ended_by_both = "ended_by_both";

std::optional<std::int64_t> id_in(const pqxx::field& field) {
  return field.is_null() ? std::nullopt : std::optional<std::int64_t>(field.as<std::int64_t>());
}

}  // namespace

Gatherer::Gatherer(Report& report, std::int64_t limit) : report_(report), limit_(limit) {
  report_.findings.clear();
  for (int number = 1; number <= invariants; ++number) {
    const Invariant& each = all.at(static_cast<std::size_t>(number) - 1);
    report_.findings.push_back({.number = number, .name = each.name, .sentence = each.sentence});
  }
}

Finding& Gatherer::finding(int invariant) {
  return report_.findings.at(static_cast<std::size_t>(invariant) - 1);
}

void Gatherer::looked_at(const std::string& what, std::int64_t count) {
  const auto known =
      std::ranges::find(report_.looked_at, what, &std::pair<std::string, std::int64_t>::first);
  if (known == report_.looked_at.end()) {
    report_.looked_at.emplace_back(what, count);
  } else {
    known->second += count;
  }
}

void Gatherer::count(int invariant, const std::string& kind, std::int64_t violations) {
  Finding& of = finding(invariant);
  const auto known =
      std::ranges::find(of.kinds, kind, &std::pair<std::string, std::int64_t>::first);
  if (known == of.kinds.end()) {
    of.kinds.emplace_back(kind, violations);
  } else {
    known->second += violations;
  }
  if (kind != ended_by_both) {
    of.violations += violations;
    of.result = Result::violated;
  }
}

void Gatherer::add(const pqxx::result& rows) {
  std::map<std::pair<int, std::string>, std::int64_t> totals;
  for (const auto& row : rows) {
    const int invariant = row["invariant"].as<int>();
    const std::string kind = row["kind"].c_str();
    const auto total = row["total"].as<std::int64_t>();
    if (invariant == 0) {
      looked_at(kind, total);
      continue;
    }
    totals[{invariant, kind}] = total;
    if (kind != ended_by_both && listed_[{invariant, kind}] < limit_) {
      ++listed_[{invariant, kind}];
      finding(invariant).offenders.push_back({.kind = kind,
                                              .call_id = id_in(row["call_id"]),
                                              .user_id = id_in(row["user_id"]),
                                              .expected = row["expected"].c_str(),
                                              .found = row["found"].c_str()});
    }
  }
  for (const auto& [key, total] : totals) {
    count(key.first, key.second, total);
  }
}

void Gatherer::add(int invariant, Offender offender) {
  count(invariant, offender.kind, 1);
  if (listed_[{invariant, offender.kind}] < limit_) {
    ++listed_[{invariant, offender.kind}];
    finding(invariant).offenders.push_back(std::move(offender));
  }
}

}  // namespace saathii::audit
