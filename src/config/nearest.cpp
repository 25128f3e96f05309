#include "saathii/config/nearest.hpp"

#include <algorithm>
#include <cstddef>

namespace saathii::config {
namespace {

constexpr std::size_t longest_word_compared = 64;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// Optimal string alignment: insertions, deletions, changes and swaps of
/// neighbours count one each; upper and lower case are the same letter.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
          lower(a[i - 2]) == lower(b[j - 1])) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known) {
  if (word.size() > longest_word_compared) return {};
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto name : known) {
    if (name.size() > longest_word_compared) continue;
    const auto d = distance(word, name);
    if (d < best_distance) {
      best = name;
      best_distance = d;
    }
  }
  return best;
}

std::string join(const std::vector<std::string_view>& names) {
  std::string text;
  for (const auto name : names) {
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text;
}

std::string suggest(std::string_view word, const std::vector<std::string_view>& known,
                    std::string_view plural) {
  const auto near = nearest(word, known);
  if (!near.empty()) return "did you mean \"" + std::string(near) + "\"?";
  return "known " + std::string(plural) + ": " + join(known);
}

std::string no_such_job(std::string_view name, const std::vector<std::string_view>& known) {
  return "there is no job \"" + std::string(name) + "\"; " + suggest(name, known, "jobs");
}

}  // namespace saathii::config
