#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <vector>

#include "saathii/base/counted.hpp"
#include "saathii/schedule/trigger.hpp"

namespace saathii::schedule {

namespace {

constexpr std::size_t max_text_bytes = 256;

constexpr std::array<std::string_view, 12> month_names = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                                          "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
constexpr std::array<std::string_view, 7> weekday_names = {"SUN", "MON", "TUE", "WED",
                                                           "THU", "FRI", "SAT"};

struct FieldKind {
  std::string_view name;
  int min;
  int max;       ///< the largest value that may be written
  int star_max;  ///< the end of '*'
  const std::string_view* names = nullptr;
  int name_count = 0;

  [[nodiscard]] std::string allowed() const {
    std::string text = "a number from " + std::to_string(min) + " to " + std::to_string(max);
    if (names != nullptr) {
      text.append(" or a name from ").append(names[0]);
      text.append(" to ").append(names[name_count - 1]);
    }
    return text;
  }
};

constexpr std::array<FieldKind, 6> kinds = {{{"second", 0, 59, 59},
                                             {"minute", 0, 59, 59},
                                             {"hour", 0, 23, 23},
                                             {"day of month", 1, 31, 31},
                                             {"month", 1, 12, 12, month_names.data(), 12},
                                             {"day of week", 0, 7, 6, weekday_names.data(), 7}}};

std::string quoted(std::string_view text) { return std::string("\"").append(text).append("\""); }

bool same_letters(std::string_view text, std::string_view upper) {
  return std::equal(text.begin(), text.end(), upper.begin(), upper.end(), [](char a, char b) {
    return std::toupper(static_cast<unsigned char>(a)) == b;
  });
}

/// All digits, and few enough for an int.
std::optional<int> read_number(std::string_view text) {
  int value = 0;
  const char* end = text.data() + text.size();
  const auto [after, failed] = std::from_chars(text.data(), end, value);
  if (text.empty() || text.front() == '-' || failed != std::errc{} || after != end) {
    return std::nullopt;
  }
  return value;
}

/// One field's text into its set of values, as bits.
class FieldParser {
 public:
  FieldParser(const FieldKind& kind, std::string& error) : kind_(kind), error_(error) {}

  bool parse(std::string_view text) {
    for (std::string_view rest = text;;) {
      const std::size_t comma = rest.find(',');
      const std::string_view item = rest.substr(0, comma);
      if (item.empty()) {
        return fail(std::string(kind_.name) + " " + quoted(text) + " has an empty item");
      }
      if (!add_item(item)) {
        return false;
      }
      if (comma == std::string_view::npos) {
        return true;
      }
      rest.remove_prefix(comma + 1);
    }
  }

  [[nodiscard]] std::uint64_t bits() const { return bits_; }

 private:
  bool fail(std::string what) {
    error_ = std::move(what);
    return false;
  }

  bool read_value(std::string_view text, int& value) {
    for (int i = 0; i < kind_.name_count; ++i) {
      if (same_letters(text, kind_.names[i])) {
        value = kind_.min + i;
        return true;
      }
    }
    const auto number = read_number(text);
    if (!number) {
      return fail(std::string(kind_.name) + " " + quoted(text) + " is not " + kind_.allowed());
    }
    value = *number;
    if (value < kind_.min || value > kind_.max) {
      return fail(std::string(kind_.name) + " " + std::string(text) + " is outside " +
                  std::to_string(kind_.min) + "-" + std::to_string(kind_.max));
    }
    return true;
  }

  bool read_step(std::string_view text, int& step) {
    const auto number = read_number(text);
    const std::string limit = std::to_string(kind_.max);
    if (!number) {
      return fail(std::string(kind_.name) + " step " + quoted(text) +
                  " is not a number from 1 to " + limit);
    }
    step = *number;
    if (step < 1 || step > kind_.max) {
      return fail(std::string(kind_.name) + " step " + std::string(text) + " is outside 1-" +
                  limit);
    }
    return true;
  }

  bool read_range(std::string_view text, std::size_t dash, int& first, int& last) {
    if (dash == 0 || dash + 1 == text.size() || text.find('-', dash + 1) != text.npos) {
      return fail(std::string(kind_.name) + " " + quoted(text) +
                  " is not a range, which is two values with '-' between them");
    }
    if (!read_value(text.substr(0, dash), first) || !read_value(text.substr(dash + 1), last)) {
      return false;
    }
    const bool to_sunday = same_letters(text.substr(dash + 1), "SUN");
    if (to_sunday && first > 0) {
      last = kind_.max;
    }
    if (first > last) {
      return fail(std::string(kind_.name) + " range " + std::string(text) + " runs backwards");
    }
    return true;
  }

  bool add_item(std::string_view item) {
    const std::size_t slash = item.find('/');
    const std::string_view values = item.substr(0, slash);
    const std::size_t dash = values.find('-');
    int first = kind_.min;
    int last = kind_.star_max;
    int step = 1;
    if (slash != std::string_view::npos && !read_step(item.substr(slash + 1), step)) {
      return false;
    }
    if (dash != std::string_view::npos) {
      if (!read_range(values, dash, first, last)) {
        return false;
      }
    } else if (values != "*") {
      if (!read_value(values, first)) {
        return false;
      }
      if (slash != std::string_view::npos) {
        return fail(std::string(kind_.name) + " " + quoted(item) +
                    " has a step but no range; for a start and a step write " +
                    std::string(values) + "-" + std::to_string(kind_.star_max) + "/" +
                    std::to_string(step));
      }
      last = first;
    }
    for (int value = first; value <= last; value += step) {
      bits_ |= std::uint64_t{1} << value;
    }
    return true;
  }

  const FieldKind& kind_;
  std::string& error_;
  std::uint64_t bits_ = 0;
};

std::vector<std::string_view> split_fields(std::string_view text) {
  std::vector<std::string_view> fields;
  for (std::size_t at = text.find_first_not_of(" \t"); at != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(" \t", at), text.size());
    fields.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(" \t", end);
  }
  return fields;
}

}  // namespace

std::optional<Cron> parse_cron(std::string_view text, std::string& error) {
  if (text.size() > max_text_bytes) {
    error = "the expression is longer than " + std::to_string(max_text_bytes) + " characters";
    return std::nullopt;
  }
  std::vector<std::string_view> fields = split_fields(text);
  if (fields.size() != 5 && fields.size() != 6) {
    error = "found " + counted(fields.size(), "field") +
            "; 5 are needed (minute hour day-of-month month day-of-week), or 6 with the second "
            "first";
    return std::nullopt;
  }
  if (fields.size() == 5) {
    fields.insert(fields.begin(), "0");
  }
  std::array<std::uint64_t, 6> bits{};
  for (std::size_t i = 0; i < fields.size(); ++i) {
    FieldParser parser(kinds[i], error);
    if (!parser.parse(fields[i])) {
      return std::nullopt;
    }
    bits[i] = parser.bits();
  }
  const std::uint64_t sunday_as_seven = bits[5] >> 7;
  Cron cron;
  cron.text = std::string(text);
  cron.seconds = bits[0];
  cron.minutes = bits[1];
  cron.hours = bits[2];
  cron.days = bits[3];
  cron.months = bits[4];
  cron.weekdays = (bits[5] | sunday_as_seven) & 0x7F;
  cron.any_day = fields[3].front() == '*';
  cron.any_weekday = fields[5].front() == '*';
  return cron;
}

}  // namespace saathii::schedule
