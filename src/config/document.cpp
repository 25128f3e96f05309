#include "document.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <tuple>
#include <utility>

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
// Nothing here nests deeper than a list in a table.
#define TOML_MAX_NESTED_VALUES 8
// It asserts what it then goes on to refuse, as it does for "[/x]".
#define TOML_ASSERT(expr) static_assert(true)
#include <toml++/toml.h>

namespace saathii::config {
namespace {

constexpr std::size_t longest_quote_bytes = 60;
constexpr std::size_t longest_scheme_bytes = 20;
/// Tables nest by dots without a bound of the library's, and their destructors by
/// recursion. A name ends with its line.
constexpr std::ptrdiff_t most_dots_in_line = 200;

Position begin_of(const toml::source_region& source) {
  return {source.begin.line, source.begin.column};
}

Node convert(const toml::node& node);

Table convert_table(const toml::table& table) {
  Table entries;
  entries.reserve(table.size());
  for (const auto& [key, node] : table) {
    entries.push_back({std::string(key.str()), begin_of(key.source()), convert(node)});
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.key_at.line, a.key_at.column) < std::tie(b.key_at.line, b.key_at.column);
  });
  return entries;
}

template <class T>
DateOrTime text_of(const T& value) {
  std::ostringstream out;
  out << value;
  return {out.str()};
}

/// The parser bounds how deep values nest.
Node convert(const toml::node& node) {
  Node result;
  result.at = begin_of(node.source());
  if (const auto* table = node.as_table()) {
    result.value = convert_table(*table);
  } else if (const auto* array = node.as_array()) {
    List list;
    for (const auto& item : *array) list.push_back(convert(item));
    result.value = std::move(list);
  } else if (const auto* text = node.as_string()) {
    result.value = text->get();
  } else if (const auto* integer = node.as_integer()) {
    result.value = integer->get();
  } else if (const auto* decimal = node.as_floating_point()) {
    result.value = decimal->get();
  } else if (const auto* flag = node.as_boolean()) {
    result.value = flag->get();
  } else if (const auto* time = node.as_time()) {
    result.value = text_of(time->get());
  } else if (const auto* date = node.as_date()) {
    result.value = text_of(date->get());
  } else if (const auto* moment = node.as_date_time()) {
    result.value = text_of(moment->get());
  }
  return result;
}

struct Describe {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const {
    std::ostringstream out;
    out.precision(15);
    out << value;
    const bool looks_whole =
        std::isfinite(value) && out.str().find_first_of(".e") == std::string::npos;
    return out.str() + (looks_whole ? ".0" : "");
  }
  std::string operator()(const std::string& value) const { return quote(value); }
  std::string operator()(const DateOrTime& value) const { return value.text; }
  std::string operator()(const List&) const { return "a list"; }
  std::string operator()(const Table&) const { return "a table"; }
};

std::string escape(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += digits[byte >> 4U];
      out += digits[byte & 0xfU];
    } else {
      out += c;
    }
  }
  return out;
}

/// The first such line, from 1, that is more than a comment; 0 if there is none.
std::uint32_t line_with_many_dots(std::string_view text) {
  for (std::uint32_t line = 1; !text.empty(); ++line) {
    const auto end = text.find('\n');
    const auto words = text.substr(0, end);
    const auto begin = words.find_first_not_of(" \t");
    const bool is_comment = begin != std::string_view::npos && words[begin] == '#';
    if (!is_comment && std::count(words.begin(), words.end(), '.') > most_dots_in_line) return line;
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return 0;
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U; }

}  // namespace

std::string toml_string(std::string_view text) { return "\"" + escape(text) + "\""; }

std::string quote(std::string_view text) {
  // A URL in another key's place is masked whole: nobody has checked its form.
  if (const auto scheme = text.find("://"); scheme != std::string_view::npos) {
    return scheme <= longest_scheme_bytes
               ? toml_string(std::string(text.substr(0, scheme)) + "://***")
               : "\"***\"";
  }
  if (text.size() <= longest_quote_bytes) return toml_string(text);
  auto end = longest_quote_bytes;
  while (end > 0 && continues_character(text[end])) --end;
  return "\"" + escape(text.substr(0, end)) + "…\"";
}

std::string describe(const Node& node) { return std::visit(Describe{}, node.value); }

std::optional<Problem> read_document(std::string_view text, std::string_view name, Table& root) {
  if (const auto line = line_with_many_dots(text); line != 0) {
    return Problem{std::string(name), line, 1,
                   "found more than " + std::to_string(most_dots_in_line) +
                       " dots; allowed: names of a few parts, such as jobs.x.timeout"};
  }
  const auto result = toml::parse(text);
  if (!result) {
    const auto& error = result.error();
    const auto at = begin_of(error.source());
    return Problem{std::string(name), at.line, at.column,
                   "not TOML: " + std::string(error.description())};
  }
  root = convert_table(result.table());
  return std::nullopt;
}

}  // namespace saathii::config
