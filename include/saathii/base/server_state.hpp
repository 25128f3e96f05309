#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "saathii/base/time.hpp"

namespace saathii {

/// Whether a server answers, as the last use of it found out. Workers report,
/// anybody may read: every member function is safe on any thread. A change is
/// logged once, however often it is reported.
class ServerState {
 public:
  enum class State { unknown, up, down };

  struct Snapshot {
    State state = State::unknown;
    Instant since;           ///< when the state began
    std::string last_error;  ///< of the latest failure; no secret in it
  };

  explicit ServerState(std::string name) : name_(std::move(name)) {}

  void report_up();
  void report_down(const std::string& error);

  [[nodiscard]] Snapshot snapshot() const;
  /// How often it went down. Who has seen another number may meet another
  /// server than before, that lacks what the old one had told last.
  [[nodiscard]] std::uint64_t outages() const;
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  /// Called after every change, on the thread that reported it. Set it before
  /// the first report.
  void on_change(std::function<void()> callback);

 private:
  const std::string name_;
  mutable std::mutex mutex_;
  Snapshot current_;
  std::uint64_t outages_ = 0;
  std::function<void()> callback_;
};

/// "unknown", "up", "down".
[[nodiscard]] std::string_view to_string(ServerState::State state);

}  // namespace saathii
