#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "audit.hpp"
#include "saathii/base/counted.hpp"
#include "table.hpp"
#include "text.hpp"
#include "words.hpp"

// An audit, for people and for programs.

namespace saathii::ctl {

namespace {

using Align = Column::Align;
using audit::Finding;
using audit::Repair;
using audit::Result;

constexpr std::size_t least_text = 12;
constexpr std::size_t lines_of_text = 3;
constexpr std::size_t bar_columns = 24;
/// Below it nothing can be said of the time that is left.
constexpr double least_share = 0.02;

std::string id_of(const std::optional<std::int64_t>& id) { return id ? std::to_string(*id) : "-"; }

std::string coins(std::int64_t number) {
  return grouped(number) + (number == 1 ? " coin" : " coins");
}

struct Verdict {
  std::string text;
  Style style;
  Symbol symbol;
};

Verdict verdict_of(const Finding& finding) {
  switch (finding.result) {
    case Result::violated:
      return {fmt::format("{} violated", grouped(finding.violations)), Style::bad, Symbol::bad};
    case Result::not_checked:
      return {"not checked", Style::attention, Symbol::attention};
    case Result::holds:
      break;
  }
  return {"holds", Style::good, Symbol::good};
}

std::string invariants_table(const audit::Report& report, const Screen& screen) {
  Table table({{"", Align::right}, {"INVARIANT", Align::left, least_text}, {"RESULT"}});
  for (const Finding& finding : report.findings) {
    const Verdict verdict = verdict_of(finding);
    table.add({{std::to_string(finding.number)},
               {std::string{finding.sentence}, Style::plain, screen.symbol(verdict.symbol),
                lines_of_text},
               {verdict.text, verdict.style}});
  }
  return table.draw(screen, 1);
}

std::string offenders_table(const Finding& finding, const Screen& screen) {
  Table table({{"KIND"},
               {"CALL", Align::right},
               {"USER", Align::right},
               {"EXPECTED", Align::left, least_text},
               {"FOUND", Align::left, least_text}});
  for (const auto& offender : finding.offenders) {
    table.add({{offender.kind},
               {id_of(offender.call_id)},
               {id_of(offender.user_id)},
               {clean(offender.expected), Style::plain, {}, lines_of_text},
               {clean(offender.found), Style::bad, {}, lines_of_text}});
  }
  std::string text = table.draw(screen, 4);
  const auto listed = static_cast<std::int64_t>(finding.offenders.size());
  if (listed < finding.violations) {
    text += fmt::format("    and {} more\n", grouped(finding.violations - listed));
  }
  return text;
}

std::string scope_of(const audit::Report& report, Duration took, const Screen& screen) {
  std::string scope = report.since ? fmt::format("Calls since {} and ongoing ones",
                                                 short_time(*report.since, screen.zone))
                                   : "Nothing was ever charged: ongoing calls alone";
  if (report.charged_until) {
    scope += fmt::format("; minutes that started until {} must be charged",
                         short_time(*report.charged_until, screen.zone));
  }
  std::string counts;
  for (const auto& [what, count] : report.looked_at) {
    counts += (counts.empty() ? "" : ", ") + grouped(count) + " " + what;
  }
  return screen.lines({{scope + "."}}) +
         screen.lines({{fmt::format("Looked at {} in {}.", counts, roughly(took))}});
}

std::string headline(const audit::Report& report, const Screen& screen) {
  const auto count = [&](Result result) {
    return std::ranges::count(report.findings, result, &Finding::result);
  };
  const auto violated = count(Result::violated);
  const auto unknown = count(Result::not_checked);
  std::string verdict = violated > 0
                            ? fmt::format("{} of {} violated", violated, report.findings.size())
                            : "nothing is violated";
  if (unknown > 0) {
    verdict += fmt::format(", {} not checked", unknown);
  }
  const Symbol symbol = violated > 0 ? Symbol::bad : unknown > 0 ? Symbol::attention : Symbol::good;
  return fmt::format("{} Audit as of {}: {}\n", screen.symbol(symbol),
                     local_time(report.as_of, screen.zone),
                     screen.paint(violated > 0 ? Style::bad : Style::bold, verdict));
}

std::string in_words(const Repair& repair) {
  switch (repair.what) {
    case Repair::What::add_spend:
      return fmt::format("a spend of {}, which the wallet has had", coins(repair.coins));
    case Repair::What::settle:
      return fmt::format("{} rupees earned by {}, and the settlement", repair.money,
                         counted(repair.minute, "minute"));
    case Repair::What::give_back:
      break;
  }
  return fmt::format("{} given back for minute {}", coins(repair.coins), repair.minute);
}

std::string_view word_of(Repaired::Result result) {
  switch (result) {
    case Repaired::Result::planned:
      return "planned";
    case Repaired::Result::done:
      return "done";
    case Repaired::Result::not_needed:
      return "not_needed";
    case Repaired::Result::failed:
      break;
  }
  return "failed";
}

/// "30 coins given back, 3.00 rupees paid".
std::string sums_of(const audit::Plan& plan) {
  std::int64_t back = 0;
  std::int64_t spent = 0;
  std::int64_t paise = 0;
  for (const Repair& repair : plan.repairs) {
    back += repair.what == Repair::What::give_back ? repair.coins : 0;
    spent += repair.what == Repair::What::add_spend ? repair.coins : 0;
    std::string digits = repair.money;
    std::erase(digits, '.');
    paise += digits.empty() ? 0 : std::stoll(digits);
  }
  std::vector<std::string> sums;
  if (back > 0) sums.push_back(coins(back) + " given back");
  if (spent > 0) sums.push_back(coins(spent) + " spent put on record");
  if (paise > 0) sums.push_back(fmt::format("{}.{:02} rupees paid", paise / 100, paise % 100));
  return fmt::format("{}", fmt::join(sums, ", "));
}

Json json_of(const std::optional<Instant>& moment) {
  return moment ? Json(to_iso8601(*moment)) : Json(nullptr);
}

Json json_of(const std::optional<std::int64_t>& number) {
  return number ? Json(*number) : Json(nullptr);
}

Json json_of(const Finding& finding) {
  auto kinds = Json::object();
  for (const auto& [kind, count] : finding.kinds) {
    kinds[kind] = count;
  }
  auto offenders = Json::array();
  for (const auto& offender : finding.offenders) {
    offenders.push_back({{"kind", offender.kind},
                         {"call_id", json_of(offender.call_id)},
                         {"user_id", json_of(offender.user_id)},
                         {"expected", offender.expected},
                         {"found", offender.found}});
  }
  return {{"number", finding.number},          {"name", finding.name},
          {"sentence", finding.sentence},      {"result", to_string(finding.result)},
          {"violations", finding.violations},  {"kinds", std::move(kinds)},
          {"offenders", std::move(offenders)}, {"notes", finding.notes}};
}

}  // namespace

std::string report_view(const audit::Report& report, Duration took, const Screen& screen) {
  std::string text = headline(report, screen);
  if (screen.legend) {
    text += scope_of(report, took, screen);
  }
  text += "\n" + invariants_table(report, screen);
  for (const Finding& finding : report.findings) {
    if (finding.violations > 0) {
      text += fmt::format("\n{:>2}  {}\n", finding.number,
                          screen.paint(Style::bold, std::string{finding.sentence}));
      text += offenders_table(finding, screen);
    }
  }
  std::string notes;
  for (const Finding& finding : report.findings) {
    for (const std::string& note : finding.notes) {
      notes += screen.lines({{fmt::format("{:>2}  {}", finding.number, clean(note))}});
    }
  }
  return text + (notes.empty() ? "" : "\n" + notes);
}

std::string plan_view(const audit::Plan& plan, const Screen& screen) {
  std::string text;
  if (!plan.repairs.empty()) {
    text += fmt::format("\nTo be written ({}; {}):\n", counted(plan.repairs.size(), "repair"),
                        sums_of(plan));
    Table table({{"", Align::right},
                 {"REPAIR"},
                 {"CALL", Align::right},
                 {"USER", Align::right},
                 {"WHAT", Align::left, least_text}});
    for (const Repair& repair : plan.repairs) {
      table.add({{std::to_string(repair.invariant)},
                 {std::string{to_string(repair.what)}},
                 {repair.call_id == 0 ? "-" : std::to_string(repair.call_id)},
                 {std::to_string(repair.user_id)},
                 {in_words(repair), Style::plain, {}, lines_of_text}});
    }
    text += table.draw(screen, 1);
    if (!plan.is_complete) {
      text += "There are more: repair again after it.\n";
    }
  }
  if (!plan.left.empty()) {
    text += "\nWhat needs a person:\n";
    Table table(
        {{"", Align::right}, {"KIND"}, {"", Align::right}, {"WHY", Align::left, least_text}});
    for (const auto& left : plan.left) {
      table.add({{std::to_string(left.invariant)},
                 {left.kind},
                 {grouped(left.count)},
                 {left.why, Style::plain, {}, lines_of_text}});
    }
    text += table.draw(screen, 1);
  }
  return text.empty() ? "\nThere is nothing to repair.\n" : text;
}

std::string repaired_view(const audit::Plan& plan, const std::vector<Repaired>& repaired,
                          const Screen& screen) {
  const auto count = [&](Repaired::Result result) {
    return std::ranges::count(repaired, result, &Repaired::result);
  };
  std::string text = fmt::format("{} written", counted(count(Repaired::Result::done), "repair"));
  if (const auto unneeded = count(Repaired::Result::not_needed); unneeded > 0) {
    text += fmt::format(", {} no longer needed", unneeded);
  }
  text += ".\n";
  for (std::size_t at = 0; at < repaired.size(); ++at) {
    if (repaired[at].result == Repaired::Result::failed) {
      const Repair& repair = plan.repairs[at];
      text +=
          screen.lines({{fmt::format("{} of call {}, user {} failed: {}", to_string(repair.what),
                                     repair.call_id, repair.user_id, clean(repaired[at].why)),
                         Style::bad}});
    }
  }
  return text;
}

Json to_json(const audit::Report& report, Duration took) {
  auto findings = Json::array();
  for (const Finding& finding : report.findings) {
    findings.push_back(json_of(finding));
  }
  auto looked_at = Json::object();
  for (const auto& [what, count] : report.looked_at) {
    looked_at[what] = count;
  }
  return {{"as_of", to_iso8601(report.as_of)},
          {"result", report.is_violated() ? "violated" : "holds"},
          {"covers_since", json_of(report.since)},
          {"charged_until", json_of(report.charged_until)},
          {"last_run", json_of(report.last_run)},
          {"baseline", json_of(report.baseline)},
          {"looked_at", std::move(looked_at)},
          {"took_us", took.count()},
          {"invariants", std::move(findings)}};
}

Json to_json(const audit::Plan& plan, const std::vector<Repaired>& repaired) {
  auto repairs = Json::array();
  for (std::size_t at = 0; at < plan.repairs.size(); ++at) {
    const Repair& repair = plan.repairs[at];
    const Repaired became = at < repaired.size() ? repaired[at] : Repaired{};
    repairs.push_back(
        {{"repair", to_string(repair.what)},
         {"invariant", repair.invariant},
         {"call_id", repair.call_id == 0 ? Json(nullptr) : Json(repair.call_id)},
         {"user_id", repair.user_id},
         {"minute", repair.what == Repair::What::give_back ? Json(repair.minute) : Json(nullptr)},
         {"coins", repair.coins},
         {"money", repair.money.empty() ? Json(nullptr) : Json(repair.money)},
         {"result", word_of(became.result)},
         {"why", became.why.empty() ? Json(nullptr) : Json(became.why)}});
  }
  auto left = Json::array();
  for (const auto& each : plan.left) {
    left.push_back({{"invariant", each.invariant},
                    {"kind", each.kind},
                    {"count", each.count},
                    {"why", each.why}});
  }
  return {{"repairs", std::move(repairs)},
          {"is_complete", plan.is_complete},
          {"left_to_people", std::move(left)}};
}

std::string audit_progress_view(std::string_view what, double share, Duration went,
                                const Screen& screen) {
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(bar_columns));
  std::string bar;
  for (std::size_t at = 0; at < bar_columns; ++at) {
    bar += at < filled ? (screen.utf8 ? "█" : "#") : (screen.utf8 ? "░" : ".");
  }
  std::string line = fmt::format("{} {:>3.0f} %  {}", bar, share * 100, what);
  if (share >= least_share && share < 1) {
    const auto left = std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(static_cast<double>(went.count()) / 1e6 * (1 / share - 1)));
    line += fmt::format(", about {} left", roughly(left));
  }
  return screen.width == 0 ? line : fit(line, screen.width - 1, screen.ellipsis());
}

}  // namespace saathii::ctl
