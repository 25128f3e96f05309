#include "triggers.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "saathii/base/time.hpp"
#include "value.hpp"
#include "zones.hpp"

namespace saathii::config {
namespace {

using schedule::Trigger;

constexpr Duration shortest_interval = std::chrono::seconds{1};
constexpr Duration longest_interval = std::chrono::hours{24 * 366};
constexpr std::string_view allowed_triggers = "exactly one of every, at, cron, once";

std::string print(Position at) { return std::to_string(at.line) + ":" + std::to_string(at.column); }

/// Text, or a bare TOML time or date and time.
const std::string* text_of(const Node& node) {
  if (const auto* text = std::get_if<std::string>(&node.value)) return text;
  if (const auto* moment = std::get_if<DateOrTime>(&node.value)) return &moment->text;
  return nullptr;
}

std::optional<Trigger::Rule> read_every(const Node& node, std::string& error) {
  const auto* text = std::get_if<std::string>(&node.value);
  const auto interval = text == nullptr ? std::nullopt : parse_duration(*text);
  if (!interval || *interval < shortest_interval || *interval > longest_interval) {
    error = "found " + describe(node) + "; allowed: a duration from 1s to 366d, such as \"5m\"";
    return std::nullopt;
  }
  return schedule::Every{*interval};
}

std::optional<Trigger::Rule> read_at(const Node& node, std::string& error) {
  const auto* text = text_of(node);
  const auto time = text == nullptr ? std::nullopt : schedule::parse_time_of_day(*text);
  if (!time) {
    error = "found " + describe(node) +
            "; allowed: a time of day from \"00:00\" to \"23:59:59\", such as \"00:01\"";
    return std::nullopt;
  }
  return schedule::Daily{*time};
}

std::optional<Trigger::Rule> read_cron(const Node& node, std::string& error) {
  const auto* text = std::get_if<std::string>(&node.value);
  std::string what = "found " + describe(node);
  auto cron = text == nullptr ? std::nullopt : schedule::parse_cron(*text, what);
  if (cron) return *std::move(cron);
  error = (text == nullptr ? what : "found " + describe(node) + ": " + what) +
          "; allowed: five fields (minute hour day-of-month month day-of-week) or six with the "
          "second first, such as \"0 3 * * 1\"";
  return std::nullopt;
}

std::optional<Trigger::Rule> read_once(const Node& node, std::string& error) {
  const auto* text = text_of(node);
  const auto moment = text == nullptr ? std::nullopt : parse_iso8601(*text);
  if (!moment) {
    error = "found " + describe(node) +
            "; allowed: a date and time with its offset from UTC, such as "
            "\"2026-11-22T00:01:00+05:30\"";
    return std::nullopt;
  }
  return schedule::Once{*moment};
}

std::optional<Trigger::Rule> read_rule(const Entry& entry, std::string& error) {
  if (entry.key == "every") return read_every(entry.node, error);
  if (entry.key == "at") return read_at(entry.node, error);
  if (entry.key == "cron") return read_cron(entry.node, error);
  return read_once(entry.node, error);
}

bool is_trigger(const Entry& entry) {
  return std::find(trigger_names.begin(), trigger_names.end(), entry.key) != trigger_names.end();
}

/// The table's own zone if it names one that there is.
TimeZone read_zone(const Table& table, const std::string& path, TimeZone zone, Findings& findings) {
  for (const auto& entry : table) {
    if (entry.key != zone_name) continue;
    const auto name = read_value(entry.node, {.form = Form::zone}, path + ".timezone", findings);
    std::string ignored;
    return name ? find_zone(std::get<std::string>(*name), ignored) : nullptr;
  }
  return zone;
}

std::string two_digits(std::chrono::seconds::rep value) {
  return (value < 10 ? "0" : "") + std::to_string(value);
}

struct PrintRule {
  std::string operator()(const schedule::Every& every) const {
    return "every = " + toml_string(format_duration(every.interval));
  }
  std::string operator()(const schedule::Daily& daily) const {
    const auto all = daily.time_of_day.count();
    auto text = two_digits(all / 3600) + ":" + two_digits(all / 60 % 60);
    if (all % 60 != 0) text += ":" + two_digits(all % 60);
    return "at = " + toml_string(text);
  }
  std::string operator()(const schedule::Cron& cron) const {
    return "cron = " + toml_string(cron.text);
  }
  std::string operator()(const schedule::Once& once) const {
    return "once = " + toml_string(to_iso8601(once.moment));
  }
};

}  // namespace

std::optional<Trigger> read_trigger(const Table& table, Position table_at, const std::string& path,
                                    TimeZone zone, bool may_be_missing, Findings& findings) {
  const TimeZone own_zone = read_zone(table, path, zone, findings);
  const Entry* first = nullptr;
  std::optional<Trigger::Rule> rule;
  for (const auto& entry : table) {
    if (!is_trigger(entry)) continue;
    std::string error;
    auto read = read_rule(entry, error);
    if (!read) {
      findings.add(entry.node.at,
                   std::string(path).append(".").append(entry.key).append(": ") + error);
    }
    if (first != nullptr) {
      findings.add(entry.key_at, path + ": found a second trigger, \"" + entry.key + "\" at " +
                                     print(entry.key_at) + " beside \"" + first->key + "\" at " +
                                     print(first->key_at) +
                                     "; allowed: " + std::string(allowed_triggers));
      return std::nullopt;
    }
    first = &entry;
    rule = std::move(read);
  }
  if (first == nullptr && !may_be_missing) {
    findings.add(table_at, path + ": found no trigger; allowed: " + std::string(allowed_triggers));
  }
  if (!rule || own_zone == nullptr) return std::nullopt;
  return Trigger(*std::move(rule), own_zone);
}

std::string print_trigger(const Trigger& trigger, std::string_view zone) {
  std::string lines = std::visit(PrintRule{}, trigger.rule()) + "\n";
  const std::string own(trigger.zone()->name());
  if (own != zone) lines += "timezone = " + toml_string(own) + "\n";
  return lines;
}

}  // namespace saathii::config
