#pragma once

#include <exception>
#include <span>
#include <string>

#include "saathii/base/first_line.hpp"
#include "saathii/jobs/job.hpp"

// One bad row must not keep a whole batch from being done. Worker threads.

namespace saathii::jobs {

/// Whether the data of a row, or who holds it, may have caused the error: then
/// the rest of its batch may do without it. Not so for a lost server, a full
/// disk, a missing right or table.
[[nodiscard]] bool may_be_fault_of_a_row(const std::exception& error);

/// Does `work` on all items at once. Where that fails by the fault of a row, it is
/// tried on parts of them, down to the culprit, and on that once more before
/// `give_up(items, reason)` gets it. `split` gives the size of the first part, or
/// that of all items where they belong together. Other errors pass through.
template <typename Item, typename Split, typename Work, typename GiveUp>
void isolate(const Context& context, std::span<const Item> items, const Split& split,
             const Work& work, const GiveUp& give_up) {
  std::string reason;
  const auto succeeds = [&] {
    try {
      work(items);
      return true;
    } catch (const std::exception& error) {
      context.throw_if_stopped();
      if (!may_be_fault_of_a_row(error)) {
        throw;
      }
      reason = first_line(error.what());
      return false;
    }
  };
  if (items.empty() || succeeds()) {
    return;
  }
  const std::size_t part = items.size() == 1 ? 1 : split(items);
  if (part < items.size()) {
    isolate(context, items.first(part), split, work, give_up);
    isolate(context, items.subspan(part), split, work, give_up);
  } else if (!succeeds()) {
    give_up(items, reason);
  }
}

/// For items that do not belong together.
[[nodiscard]] constexpr auto halves() {
  return [](const auto& items) { return items.size() / 2; };
}

}  // namespace saathii::jobs
