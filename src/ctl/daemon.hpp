#pragma once

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "model.hpp"

// The daemon, as a command sees it: the bus in the program, a script in tests.

namespace saathii::ctl {

/// The daemon or the bus said no. `what()` is the text that came with it,
/// without control characters but line feeds.
class Refusal : public std::runtime_error {
 public:
  enum class Kind {
    no_bus,       ///< the bus itself cannot be reached
    not_running,  ///< nobody has the daemon's name
    no_answer,    ///< it has the name and does not answer
    gone,         ///< it left the bus while it was asked
    denied,
    unknown_job,
    invalid_argument,
    already_waiting,
    configuration_invalid,
    overloaded,
    unavailable,
    not_found,
    shutting_down,
    standby,          ///< another instance leads, and runs the job
    another_version,  ///< it does not know what it was asked
    failed
  };

  Refusal(Kind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}
  [[nodiscard]] Kind kind() const noexcept { return kind_; }

 private:
  Kind kind_;
};

/// What happened while a run was waited for.
struct Event {
  enum class What {
    finished,     ///< `ending` says which run, and how
    gone,         ///< the daemon left the bus
    interrupted,  ///< by a signal to this program
    nothing       ///< within the time that was given
  };
  What what = What::nothing;
  Ending ending = {};
};

/// Of one answer of the daemon's.
inline constexpr std::uint32_t rows_of_history = 1000;

/// Each call blocks and throws Refusal.
class Daemon {
 public:
  virtual ~Daemon() = default;

  [[nodiscard]] virtual Manager manager() = 0;
  [[nodiscard]] virtual Health health() = 0;
  /// In the configuration's order.
  [[nodiscard]] virtual std::vector<Job> jobs() = 0;
  [[nodiscard]] virtual Job job(const std::string& name) = 0;
  [[nodiscard]] virtual std::vector<std::string> job_names() = 0;
  /// Newest first by the scheduled moment, from `since` until `until`, which count;
  /// at most `rows_of_history`.
  [[nodiscard]] virtual std::vector<Run> history(const std::string& job, const Moment& since,
                                                 const Moment& until, const std::string& outcome,
                                                 std::uint32_t limit) = 0;
  [[nodiscard]] virtual Calendar calendar(const std::string& job, std::uint32_t count) = 0;
  [[nodiscard]] virtual Receipt receipt(std::uint64_t call_id) = 0;
  [[nodiscard]] virtual Wallet wallet(std::uint64_t user_id, std::uint32_t limit) = 0;

  /// Returns the run's id.
  [[nodiscard]] virtual std::string run(const std::string& job, const Moment& at) = 0;
  virtual void pause(const std::string& job) = 0;
  virtual void resume(const std::string& job) = 0;
  [[nodiscard]] virtual Reloaded reload() = 0;
  virtual void set_log_level(const std::string& level) = 0;

  /// From now on runs that end are kept for next_event(): before run(), so that
  /// none is lost.
  virtual void watch() = 0;
  [[nodiscard]] virtual Event next_event(std::chrono::milliseconds patience) = 0;
};

}  // namespace saathii::ctl
