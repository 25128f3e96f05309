#include "value.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "saathii/base/time.hpp"
#include "saathii/config/alert_url.hpp"
#include "saathii/config/listen.hpp"
#include "saathii/config/nearest.hpp"
#include "saathii/config/url.hpp"
#include "zones.hpp"

namespace saathii::config {
namespace {

constexpr double largest_amount = 1e12;

std::string bounds(std::int64_t min, std::int64_t max, std::string (*print)(std::int64_t)) {
  if (max != INT64_MAX) return " from " + print(min) + " to " + print(max);
  return min > 0 ? " of at least " + print(min) : "";
}

std::string print_integer(std::int64_t value) { return std::to_string(value); }
std::string print_duration(std::int64_t value) { return format_duration(Duration{value}); }

std::string quoted_choices(const std::vector<std::string_view>& choices) {
  std::string text;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) text += i + 1 == choices.size() ? " or " : ", ";
    text += quote(choices[i]);
  }
  return text;
}

std::string allowed(const Rule& rule) {
  switch (rule.form) {
    case Form::flag:
      return "true or false";
    case Form::integer:
      return rule.min < 0 && rule.max == INT64_MAX
                 ? "a whole number"
                 : "a whole number" + (rule.min == 0 && rule.max == INT64_MAX
                                           ? " of at least 0"
                                           : bounds(rule.min, rule.max, print_integer));
    case Form::duration:
      return "a duration" + bounds(rule.min, rule.max, print_duration) +
             ", such as \"90s\" or \"1h30m\"";
    case Form::text:
      return rule.choices.empty() ? "text in quotes" : quoted_choices(rule.choices);
    case Form::list:
      return "a list of " +
             (rule.choices.empty() ? "texts in quotes" : quoted_choices(rule.choices)) +
             (rule.min > 0 ? ", not empty" : "");
    case Form::zone:
      return "a time zone in quotes, such as \"Asia/Kolkata\"";
    case Form::level:
      return std::string(allowed_levels);
    case Form::bus:
      return R"("system", "session", "none" or an address such as "unix:path=/run/bus")";
    case Form::path:
      return "an absolute path in quotes, or \"\"";
    case Form::paise:
      return "rupees" + bounds(rule.min, rule.max, print_paise) +
             " with at most two decimals, such as 1.25";
    case Form::postgres_url:
      return "a URL in quotes, such as \"postgresql://saathiid@localhost/saathii\"";
    case Form::redis_url:
      return "a URL in quotes, such as \"redis://127.0.0.1:6379/0\"";
    case Form::webhook_url:
      return "a URL in quotes, such as \"https://example.org/hook\", or \"\"";
    case Form::smtp_url:
      return "a URL in quotes, such as \"smtps://mail.example.org:465\", or \"\"";
    case Form::listen:
      return "an address of this host in quotes, such as \"127.0.0.1:9464\"";
  }
  return {};
}

bool is_secret(Form form) {
  return form == Form::postgres_url || form == Form::redis_url || form == Form::webhook_url ||
         form == Form::smtp_url;
}

bool within(const Rule& rule, std::int64_t value) { return value >= rule.min && value <= rule.max; }

/// Paise, if the number is exactly so many rupees: what a decimal of two places
/// reads as is the number nearest to it, which a division of integers gives too.
std::optional<std::int64_t> exact_paise(const Node& node) {
  if (const auto* whole = std::get_if<std::int64_t>(&node.value)) {
    if (std::abs(static_cast<double>(*whole)) > largest_amount) return std::nullopt;
    return *whole * 100;
  }
  const auto* decimal = std::get_if<double>(&node.value);
  if (decimal == nullptr || !(std::abs(*decimal) <= largest_amount)) return std::nullopt;
  const auto paise = std::llround(*decimal * 100);
  if (static_cast<double>(paise) / 100.0 != *decimal) return std::nullopt;
  return paise;
}

/// Reads one value; failing, leaves in `error` more than "found, allowed".
class ValueReader {
 public:
  ValueReader(const Node& node, const Rule& rule, std::string& error)
      : node_(node), rule_(rule), error_(error) {}

  std::optional<Value> read() const {
    switch (rule_.form) {
      case Form::flag:
        return as<bool>();
      case Form::integer:
        return bounded(as_plain<std::int64_t>());
      case Form::duration:
        return read_duration();
      case Form::paise:
        return bounded(exact_paise(node_));
      case Form::list:
        return read_list();
      default:
        return read_text();
    }
  }

 private:
  template <class T>
  std::optional<T> as_plain() const {
    const auto* value = std::get_if<T>(&node_.value);
    return value == nullptr ? std::nullopt : std::optional<T>(*value);
  }

  template <class T>
  std::optional<Value> as() const {
    const auto value = as_plain<T>();
    return value ? std::optional<Value>(*value) : std::nullopt;
  }

  std::optional<Value> bounded(std::optional<std::int64_t> value) const {
    if (!value || !within(rule_, *value)) return std::nullopt;
    return Value(*value);
  }

  std::optional<Value> read_duration() const {
    const auto* text = std::get_if<std::string>(&node_.value);
    const auto length = text == nullptr ? std::nullopt : parse_duration(*text);
    if (!length || !within(rule_, length->count())) return std::nullopt;
    return Value(*length);
  }

  /// Adds the nearest choice, if one is near.
  bool is_choice(const std::string& text) const {
    if (rule_.choices.empty()) return true;
    if (std::find(rule_.choices.begin(), rule_.choices.end(), text) != rule_.choices.end()) {
      return true;
    }
    const auto near = nearest(text, rule_.choices);
    error_ = "found " + quote(text) + "; allowed: " + allowed(rule_);
    if (!near.empty()) error_ += "; did you mean \"" + std::string(near) + "\"?";
    return false;
  }

  std::optional<Value> read_list() const {
    const auto* list = std::get_if<List>(&node_.value);
    if (list == nullptr) return std::nullopt;
    std::vector<std::string> texts;
    for (const auto& item : *list) {
      const auto* text = std::get_if<std::string>(&item.value);
      if (text == nullptr) {
        error_ = "found " + describe(item) + " in the list; allowed: " + allowed(rule_);
        return std::nullopt;
      }
      if (!is_choice(*text)) return std::nullopt;
      texts.push_back(*text);
    }
    if (!within(rule_, static_cast<std::int64_t>(texts.size()))) {
      error_ = "found a list of " + std::to_string(texts.size()) + "; allowed: " + allowed(rule_);
      return std::nullopt;
    }
    return Value(std::move(texts));
  }

  std::optional<Value> read_text() const {
    const auto* text = std::get_if<std::string>(&node_.value);
    if (text == nullptr) return std::nullopt;
    switch (rule_.form) {
      case Form::zone:
        return find_zone(*text, error_) != nullptr ? std::optional<Value>(*text) : std::nullopt;
      case Form::level: {
        auto level = read_level(*text);
        return level ? std::optional<Value>(*std::move(level)) : std::nullopt;
      }
      case Form::bus:
        if (*text == "system" || *text == "session" || *text == "none" ||
            text->starts_with("unix:")) {
          return Value(*text);
        }
        return std::nullopt;
      case Form::path:
        if (!text->empty() && !text->starts_with('/')) return std::nullopt;
        return Value(*text);
      case Form::postgres_url: {
        auto url = parse_postgres_url(*text, error_);
        return url ? std::optional<Value>(*std::move(url)) : std::nullopt;
      }
      case Form::redis_url:
        return parse_redis_url(*text, error_) ? std::optional<Value>(*text) : std::nullopt;
      case Form::webhook_url:
        return text->empty() || is_webhook_url(*text, error_) ? std::optional<Value>(*text)
                                                              : std::nullopt;
      case Form::smtp_url:
        return text->empty() || parse_smtp_url(*text, error_) ? std::optional<Value>(*text)
                                                              : std::nullopt;
      case Form::listen:
        if (parse_listen(*text, error_)) return Value(*text);
        error_ = "found " + quote(*text) + "; " + error_;
        return std::nullopt;
      default:
        return is_choice(*text) ? std::optional<Value>(*text) : std::nullopt;
    }
  }

  const Node& node_;
  const Rule& rule_;
  std::string& error_;
};

}  // namespace

Rule rule_of(const Setting& setting) {
  constexpr Form forms[] = {Form::flag, Form::integer, Form::duration, Form::text, Form::list};
  static_assert(std::size(forms) == std::variant_size_v<Value>);
  return {forms[setting.default_value.index()], setting.min, setting.max, setting.choices};
}

std::optional<Value> read_value(const Node& node, const Rule& rule, const std::string& path,
                                Findings& findings) {
  std::string error;
  auto value = ValueReader(node, rule, error).read();
  if (!value) {
    // Who takes a password's path for the password's place wrote a password.
    const bool is_shown = !is_secret(rule.form) && rule.form != Form::path;
    const bool show = is_shown || !std::holds_alternative<std::string>(node.value);
    if (error.empty()) {
      error = "found " + (show ? describe(node) : "text") + "; allowed: " + allowed(rule);
    }
    findings.add(node.at, path + ": " + error);
  }
  return value;
}

std::string print_paise(std::int64_t paise) {
  const auto rest = paise % 100;
  return std::to_string(paise / 100) + (rest < 10 ? ".0" : ".") + std::to_string(rest);
}

std::string print_value(const Value& value, const Rule& rule) {
  struct Printer {
    const Rule& rule;
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
    std::string operator()(std::int64_t number) const {
      return rule.form == Form::paise ? print_paise(number) : std::to_string(number);
    }
    std::string operator()(Duration length) const { return toml_string(format_duration(length)); }
    std::string operator()(const std::string& text) const {
      if (rule.form == Form::webhook_url && !text.empty()) {
        return toml_string(mask_webhook_url(text));
      }
      return toml_string(is_secret(rule.form) && !text.empty() ? mask_url(text) : text);
    }
    std::string operator()(const std::vector<std::string>& texts) const {
      std::string list;
      for (const auto& text : texts) list += (list.empty() ? "" : ", ") + toml_string(text);
      return "[" + list + "]";
    }
  };
  return std::visit(Printer{rule}, value);
}

std::optional<std::string> read_level(std::string_view text) {
  std::string level(text);
  std::transform(level.begin(), level.end(), level.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (level == "warn") return "warning";
  if (level == "critical" || level == "fatal") return "error";
  constexpr std::string_view known[] = {"trace", "debug", "info", "warning", "error"};
  if (std::find(std::begin(known), std::end(known), level) == std::end(known)) return std::nullopt;
  return level;
}

}  // namespace saathii::config
