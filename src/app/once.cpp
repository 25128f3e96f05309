#include "once.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "saathii/base/errors.hpp"
#include "saathii/config/nearest.hpp"
#include "saathii/jobs/executor.hpp"
#include "saathii/runner/foreground.hpp"
#include "saathii/schedule/local_time.hpp"
#include "schema.hpp"

namespace saathii::app {

namespace {

using runner::Result;

/// An outcome as it is printed.
struct Line {
  std::string job;
  std::string outcome;
  std::string summary;
  runner::Counts counts;
  Duration busy;
  Instant at;
};

std::string outcome_word(const runner::Foreground::Outcome& outcome) {
  if (outcome.timed_out) {
    return "timed_out";
  }
  switch (outcome.result.status) {
    case Result::Status::succeeded:
      return "succeeded";
    case Result::Status::stopped:
      return "stopped";
    case Result::Status::failed:
    case Result::Status::unavailable:
    case Result::Status::deposed:
      break;
  }
  return "failed";
}

void print_lines(const std::vector<Line>& lines) {
  std::size_t width = 0;
  for (const Line& line : lines) {
    width = std::max(width, line.job.size());
  }
  for (const Line& line : lines) {
    std::string text = fmt::format("{:<{}}  {:<9}  {:>10}  {}", line.job, width, line.outcome,
                                   humanize(line.busy), line.summary);
    if (!line.counts.empty()) {
      std::vector<std::string> counts;
      for (const auto& [name, number] : line.counts) {
        counts.push_back(fmt::format("{}={}", name, number));
      }
      text += fmt::format("  [{}]", fmt::join(counts, " "));
    }
    std::puts(text.c_str());
  }
}

void print_json(const std::vector<Line>& lines) {
  auto array = nlohmann::ordered_json::array();
  for (const Line& line : lines) {
    auto counts = nlohmann::ordered_json::object();
    for (const auto& [name, number] : line.counts) {
      counts[name] = number;
    }
    array.push_back({{"job", line.job},
                     {"outcome", line.outcome},
                     {"summary", line.summary},
                     {"counts", std::move(counts)},
                     {"duration_us", line.busy.count()},
                     {"at", to_iso8601(line.at)}});
  }
  std::puts(array.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

std::vector<std::string_view> job_names(const config::Config& config) {
  std::vector<std::string_view> names;
  for (const config::Job& job : config.jobs) {
    names.push_back(job.name);
  }
  return names;
}

/// The jobs to run, in the configuration's order; exits are for the caller.
std::vector<const config::Job*> choose(const std::vector<std::string>& names,
                                       const config::Config& config, std::string& error) {
  std::vector<const config::Job*> chosen;
  for (const std::string& name : names) {
    const bool known = std::any_of(config.jobs.begin(), config.jobs.end(),
                                   [&](const config::Job& job) { return job.name == name; });
    if (!known) {
      error = config::no_such_job(name, job_names(config));
      return {};
    }
  }
  for (const config::Job& job : config.jobs) {
    const bool named = std::find(names.begin(), names.end(), job.name) != names.end();
    if (names.empty() ? job.enabled : named) {
      chosen.push_back(&job);
    }
  }
  return chosen;
}

/// Returns false if the database must not be touched.
bool schema_allows(postgres::Pool& pool, const std::stop_token& stop) {
  try {
    const SchemaVerdict verdict = check_schema(pool, stop);
    if (!verdict.message.empty()) {
      std::fprintf(stderr, "saathiid: %s\n", verdict.message.c_str());
    }
    return verdict.fit != SchemaVerdict::Fit::newer;
  } catch (const std::exception&) {
    // The jobs that need the database will say so themselves.
    return true;
  }
}

}  // namespace

int run_once(const CommandLine& command, const config::Config& config, postgres::Pool& pool,
             ServerState& redis_state) {
  std::optional<Instant> at;
  if (command.at) {
    at = schedule::parse_moment(*command.at, tz::locate_zone(config.platform.timezone));
    if (!at) {
      return usage_error(
          fmt::format("--at '{}' is not a time: give 2026-11-22, '2026-11-22 14:03' (in {}) or "
                      "2026-11-22T14:03:00Z",
                      *command.at, config.platform.timezone));
    }
  }
  std::string error;
  const auto chosen = choose(command.jobs, config, error);
  if (!error.empty()) {
    return usage_error(error);
  }
  runner::Foreground foreground;
  if (!schema_allows(pool, foreground.token())) {
    return exit_failure;
  }
  std::vector<Line> lines;
  bool all_succeeded = true;
  for (const config::Job* job : chosen) {
    if (foreground.interrupted()) {
      std::fputs("saathiid: stopped by a signal; the jobs that are not listed did not run\n",
                 stderr);
      all_succeeded = false;
      break;
    }
    const Instant began = wall_now();
    const auto outcome = foreground.run(jobs::make_spec(*job, config, pool, redis_state), at);
    all_succeeded = all_succeeded && outcome.result.status == Result::Status::succeeded;
    lines.push_back({job->name, outcome_word(outcome), outcome.result.summary,
                     outcome.result.counts, outcome.busy, at.value_or(began)});
  }
  command.json ? print_json(lines) : print_lines(lines);
  return all_succeeded ? exit_ok : exit_failure;
}

}  // namespace saathii::app
