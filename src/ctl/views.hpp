#pragma once

#include <string>
#include <vector>

#include "model.hpp"
#include "screen.hpp"

// What people read of each answer: whole lines. Pure.

namespace saathii::ctl {

[[nodiscard]] std::string status_view(const Overview& overview, const Screen& screen);
[[nodiscard]] std::string jobs_view(const std::vector<Job>& jobs, const Screen& screen);
[[nodiscard]] std::string job_view(const Job& job, const Screen& screen);
[[nodiscard]] std::string health_view(const Health& health, const Screen& screen);

/// Newest first, as given. `limit` is how many were asked for; of one job there
/// is no need to say of which.
[[nodiscard]] std::string history_view(const std::vector<Run>& runs, std::size_t limit,
                                       bool one_job, const Screen& screen);

/// Each tick in its schedule's zone (in the screen's, if `in_screens_zone`), and
/// which of these jobs are paused.
[[nodiscard]] std::string calendar_view(const std::vector<Tick>& ticks,
                                        const std::vector<Job>& jobs, bool in_screens_zone,
                                        const Screen& screen);

[[nodiscard]] std::string receipt_view(const Receipt& receipt, const Screen& screen);
[[nodiscard]] std::string wallet_view(const Wallet& wallet, const Screen& screen);
[[nodiscard]] std::string reloaded_view(const Reloaded& reloaded, const Screen& screen);
[[nodiscard]] std::string ending_view(const Ending& ending, const Screen& screen);

/// One line while a run is waited for, `waited` long already.
[[nodiscard]] std::string progress_view(const Job& job, const std::string& run_id, Duration waited,
                                        const Screen& screen);

/// "charged=7 coins=170", as --once of the daemon prints them.
[[nodiscard]] std::string in_words(const Counts& counts);

/// "timed out".
[[nodiscard]] std::string in_words(std::string_view outcome);

/// The symbol of an outcome, a health level or a server's state.
[[nodiscard]] std::string symbol_of(std::string_view word, const Screen& screen);

}  // namespace saathii::ctl
