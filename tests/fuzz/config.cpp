// A configuration file of any bytes: it is taken, or each thing wrong in it is told;
// and what is printed of one that was taken loads again to the same.

#include <algorithm>
#include <string>

#include "config/kinds.hpp"
#include "fuzz.hpp"
#include "saathii/config/changes.hpp"
#include "saathii/config/loader.hpp"

namespace {

using saathii::config::Config;
using saathii::fuzz::require;

/// What is masked when it is printed.
bool is_masked(std::string_view key) {
  return key == "postgres.url" || key == "redis.url" || key == "alerts.webhook.url" ||
         key == "alerts.mail.smtp";
}

void require_same(const Config& before, const Config& after) {
  const auto changes = saathii::config::compare(before, after, saathii::test::kinds());
  for (const auto* keys : {&changes.applied, &changes.needs_restart}) {
    for (const auto& key : *keys) {
      require(is_masked(key), "what was printed loads to the same", key);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto& kinds = saathii::test::kinds();
  const auto read = [&](std::string_view text) {
    return saathii::config::parse(text, "fuzz.toml", kinds, saathii::test::no_environment());
  };
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const auto loaded = read(text);
  require(loaded.config.has_value() == loaded.problems.empty(), "either taken or refused");
  for (const auto& problem : loaded.problems) {
    require(!problem.message.empty(), "a problem says what is wrong");
    const auto lines = 1 + std::count(text.begin(), text.end(), '\n');
    require(problem.line <= lines, "a problem stands in the file", problem.to_string());
  }
  if (loaded.config) {
    const auto printed = saathii::config::print(*loaded.config, kinds);
    const auto again = read(printed);
    require(again.config.has_value(), "what was printed loads",
            again.config ? "" : again.problems.front().to_string());
    require_same(*loaded.config, *again.config);
    require(saathii::config::print(*again.config, kinds) == printed, "printed twice the same");
  }
  return 0;
}
