#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "saathii/config/loader.hpp"

// A TOML text as a tree of values that know where they stand. The only place
// that knows the TOML library.

namespace saathii::config {

struct Position {
  std::uint32_t line = 0;    ///< from 1; 0: nowhere in the file
  std::uint32_t column = 0;  ///< from 1
};

struct Entry;
struct Node;
using List = std::vector<Node>;
using Table = std::vector<Entry>;  ///< in the file's order

/// A TOML date, time or both, as text.
struct DateOrTime {
  std::string text;
};

struct Node {
  Position at;
  std::variant<bool, std::int64_t, double, std::string, DateOrTime, List, Table> value;
};

struct Entry {
  std::string key;
  Position key_at;
  Node node;
};

/// What was found, as it stands in a problem: `the text "8"`, `5`, `a table`.
[[nodiscard]] std::string describe(const Node& node);

/// Text in quotes: made printable, cut where it is long, a URL masked.
[[nodiscard]] std::string quote(std::string_view text);

/// Text as a TOML string.
[[nodiscard]] std::string toml_string(std::string_view text);

/// Reads a whole document into `root`. A syntax error is the only problem then.
[[nodiscard]] std::optional<Problem> read_document(std::string_view text, std::string_view name,
                                                   Table& root);

}  // namespace saathii::config
