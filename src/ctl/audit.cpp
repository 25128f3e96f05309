#include "audit.hpp"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "moments.hpp"
#include "saathii/audit/desk.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/log/log.hpp"
#include "text.hpp"

namespace saathii::ctl {

namespace {

/// So many of each kind are listed for a plan.
constexpr std::int64_t listed_for_repair = 1000;
constexpr std::chrono::milliseconds between_shows{200};

/// While it lives, SIGINT and SIGTERM request the stop and end nothing else.
class StopOnSignal {
 public:
  explicit StopOnSignal(const std::stop_source& stop) {
    ::sigemptyset(&wanted_);
    for (const int signal : {SIGINT, SIGTERM, wake}) {
      ::sigaddset(&wanted_, signal);
    }
    ::pthread_sigmask(SIG_BLOCK, &wanted_, &before_);
    waiter_ = std::thread([this, stop]() mutable {
      int signal = 0;
      while (::sigwait(&wanted_, &signal) == 0 && signal != wake) {
        stop.request_stop();
      }
    });
  }
  ~StopOnSignal() {
    ::pthread_kill(waiter_.native_handle(), wake);
    waiter_.join();
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

 private:
  static constexpr int wake = SIGUSR2;  ///< to the waiter alone
  sigset_t wanted_{};
  sigset_t before_{};
  std::thread waiter_;
};

class DeskAuditor final : public Auditor {
 public:
  explicit DeskAuditor(const config::Config& config)
      : zone_(tz::locate_zone(config.platform.timezone)) {
    const StopOnSignal signals(stop_);
    desk_ = std::make_unique<audit::Desk>(config, stop_.get_token());
  }
  [[nodiscard]] TimeZone zone() const override { return zone_; }
  audit::Report run(const audit::Options& options, const audit::Progress& progress) override {
    const StopOnSignal signals(stop_);
    return desk_->run(options, progress);
  }
  audit::Plan plan(const audit::Report& report) override {
    const StopOnSignal signals(stop_);
    return desk_->plan(report);
  }
  bool apply(const audit::Repair& repair) override {
    const StopOnSignal signals(stop_);
    return desk_->apply(repair);
  }
  audit::Baseline take_baseline() override {
    const StopOnSignal signals(stop_);
    return desk_->take_baseline();
  }

 private:
  const TimeZone zone_;
  std::stop_source stop_;
  std::unique_ptr<audit::Desk> desk_;
};

/// One audit command with what it needs.
class Execution {
 public:
  Execution(const CommandLine& command, Auditor& auditor, Console& console)
      : command_(command), auditor_(auditor), console_(console) {}

  int perform() { return command_.audit.baseline ? take_baseline() : check(); }

 private:
  int check();
  int repair(const audit::Report& report, const audit::Report& shown);
  int take_baseline();
  std::optional<audit::Options> options();
  audit::Report run(const audit::Options& options);
  /// Whether to write; complains where it is not to be.
  bool may_write(const std::string& question);
  std::vector<Repaired> apply(const audit::Plan& plan);

  [[nodiscard]] bool is_json() const { return command_.json != JsonForm::none; }
  void print(const Json& json) {
    const int indent = command_.json == JsonForm::pretty ? 2 : -1;
    console_.print(json.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  [[nodiscard]] Screen screen() const {
    Screen made = console_.screen();
    made.zone = command_.utc ? tz::locate_zone("UTC") : auditor_.zone();
    return made;
  }

  const CommandLine& command_;
  Auditor& auditor_;
  Console& console_;
  Duration took_{0};
  bool interrupted_ = false;
};

std::optional<audit::Options> Execution::options() {
  audit::Options options;
  options.limit = command_.audit.limit;
  if (command_.audit.repair) {
    options.limit = std::max(options.limit, listed_for_repair);
  }
  if (!command_.audit.grace.empty()) {
    options.grace = *parse_duration(command_.audit.grace);
  }
  if (!command_.audit.since.empty()) {
    const Screen on = screen();
    options.since = parse_since(command_.audit.since, on.now, on.zone);
    if (!options.since) {
      console_.complain(
          fmt::format("saathiictl: --since '{}' is not a time: give 2026-11-22, '2026-11-22 14:03' "
                      "(of {}), 2026-11-22T14:03:00Z, 7d, today or yesterday\n",
                      command_.audit.since, on.zone->name()));
      return std::nullopt;
    }
  }
  return options;
}

audit::Report Execution::run(const audit::Options& options) {
  const auto began = std::chrono::steady_clock::now();
  const auto so_far = [&] {
    return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - began);
  };
  std::optional<std::chrono::steady_clock::time_point> shown;
  const auto progress = [&](std::string_view what, double share) {
    const auto now = std::chrono::steady_clock::now();
    if (console_.is_watched() && (!shown || now - *shown >= between_shows)) {
      shown = now;
      console_.progress(audit_progress_view(what, share, so_far(), console_.progress_screen()));
    }
  };
  audit::Report report = auditor_.run(options, progress);
  took_ = so_far();
  console_.progress("");
  return report;
}

int Execution::check() {
  const auto wanted = options();
  if (!wanted) {
    return exit_code::usage;
  }
  const audit::Report report = run(*wanted);
  if (command_.audit.repair) {
    audit::Report shown = report;
    for (audit::Finding& finding : shown.findings) {
      finding.offenders.resize(
          std::min<std::size_t>(finding.offenders.size(), command_.audit.limit));
    }
    return repair(report, shown);
  }
  if (is_json()) {
    print(to_json(report, took_));
  } else if (!command_.quiet || report.is_violated()) {
    console_.print(report_view(report, took_, screen()));
  }
  return report.is_violated() ? exit_code::violated : exit_code::ok;
}

bool Execution::may_write(const std::string& question) {
  if (command_.audit.yes) {
    return true;
  }
  const auto answer = is_json() ? std::nullopt : console_.ask(question);
  if (!answer) {
    console_.complain(
        "saathiictl: nothing was written: there is nobody to ask\n  next: the same with --yes\n");
  } else if (!*answer) {
    console_.complain("saathiictl: nothing was written\n");
  }
  return answer.value_or(false);
}

std::vector<Repaired> Execution::apply(const audit::Plan& plan) {
  std::vector<Repaired> repaired;
  for (const audit::Repair& each : plan.repairs) {
    try {
      repaired.push_back(
          {auditor_.apply(each) ? Repaired::Result::done : Repaired::Result::not_needed, {}});
    } catch (const Unavailable& error) {
      // The connection is gone: whether this one was written, the next audit tells.
      repaired.push_back({Repaired::Result::failed, error.what()});
      break;
    } catch (const Stopped&) {
      interrupted_ = true;
      break;
    } catch (const std::exception& error) {
      repaired.push_back({Repaired::Result::failed, error.what()});
    }
  }
  repaired.resize(plan.repairs.size());
  return repaired;
}

int Execution::repair(const audit::Report& report, const audit::Report& shown) {
  const audit::Plan plan = auditor_.plan(report);
  if (!is_json()) {
    console_.print(report_view(shown, took_, screen()) + plan_view(plan, screen()));
  }
  std::vector<Repaired> repaired;
  if (!plan.repairs.empty() && may_write("Write these rows?")) {
    repaired = apply(plan);
    if (!is_json()) {
      console_.print("\n" + repaired_view(plan, repaired, screen()));
    }
  }
  if (is_json()) {
    Json document = to_json(shown, took_);
    document["plan"] = to_json(plan, repaired);
    print(document);
  }
  if (interrupted_) {
    console_.complain("saathiictl: broken off; each repair so far is whole\n");
    return exit_code::interrupted;
  }
  const bool all_done =
      repaired.size() == plan.repairs.size() && plan.is_complete &&
      std::ranges::all_of(repaired, [](const Repaired& each) {
        return each.result == Repaired::Result::done || each.result == Repaired::Result::not_needed;
      });
  return !report.is_violated() || (all_done && plan.left.empty()) ? exit_code::ok
                                                                  : exit_code::violated;
}

int Execution::take_baseline() {
  if (!may_write("Take what wallets and transactions say now for right, in place of any baseline "
                 "before?")) {
    return exit_code::refused;
  }
  const audit::Baseline baseline = auditor_.take_baseline();
  if (is_json()) {
    print(Json{{"wallets", baseline.wallets}, {"openings", baseline.openings}});
  } else if (!command_.quiet) {
    console_.print(
        fmt::format("The baseline is taken: of {} wallets {} had something before their first "
                    "transaction.\nFrom now on an audit recounts every wallet.\n",
                    grouped(baseline.wallets), grouped(baseline.openings)));
  }
  return exit_code::ok;
}

}  // namespace

std::unique_ptr<Auditor> open_auditor(const AuditArguments& arguments) {
  // A server that is away is told of by us, once.
  log::set_level(log::Level::error);
  const config::Loaded loaded = audit::load_config(arguments.config);
  if (!loaded.config) {
    std::string problems;
    for (const config::Problem& problem : loaded.problems) {
      problems += problem.to_string() + "\n";
    }
    throw BadConfiguration(problems);
  }
  return std::make_unique<DeskAuditor>(*loaded.config);
}

int carry_out_audit(const CommandLine& command, const OpenAuditor& open, Console& console) {
  const auto complain = [&](const std::string& what, const std::string& next) {
    console.progress("");
    console.complain("saathiictl: " + what + "\n" + (next.empty() ? "" : "  next: " + next + "\n"));
  };
  try {
    const auto auditor = open();
    return Execution(command, *auditor, console).perform();
  } catch (const BadConfiguration& error) {
    console.complain(error.what());
    complain("the configuration " + command.audit.config + " cannot be used",
             "sudo, if it is not for everybody to read; or another --config");
    return exit_code::usage;
  } catch (const Stopped&) {
    complain("broken off; nothing was written", "");
    return exit_code::interrupted;
  } catch (const Unavailable& error) {
    complain(std::string{"the database cannot be reached: "} + clean(error.what()),
             "DATABASE_URL, or [postgres] of " + command.audit.config);
    return exit_code::unreachable;
  } catch (const std::exception& error) {
    complain(std::string{"the audit could not be finished: "} + one_line(error.what()),
             "is the schema that of this version, and may the role read it? (saathiictl(1))");
    return exit_code::failed;
  }
}

}  // namespace saathii::ctl
