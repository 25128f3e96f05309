#pragma once

#include <functional>
#include <string>

#include "answer.hpp"
#include "gate.hpp"
#include "saathii/control/face.hpp"
#include "wire.hpp"

namespace saathii::control {

/// What outlives a connection, while requests wait for something else.
struct Office {
  Desk desk;
  std::function<void()> publish;  ///< tells the bus now what has changed
};

/// What is asked of the daemon, once it is known who may ask it. Each throws
/// Refusal or JobError for what is wrong at once, and answers later. Loop thread.
class Requests {
 public:
  /// All of these outlive it; `office` also what waits for an answer.
  Requests(Office& office, OpenCalls& calls, Gate& gate)
      : office_(office), calls_(calls), gate_(gate) {}

  /// Throws Refusal or JobError, also for a name that is none.
  [[nodiscard]] runner::JobView job(const std::string& name) const;

  void run(const Caller& caller, sdbus::Result<std::string>&& result, const std::string& name,
           std::uint64_t at);
  void pause(const Caller& caller, sdbus::Result<>&& result, const std::string& name);
  void resume(const Caller& caller, sdbus::Result<>&& result, const std::string& name);
  void reload(
      const Caller& caller,
      sdbus::Result<std::vector<std::string>, std::vector<std::string>, std::uint32_t>&& result);
  void set_log_level(const Caller& caller, sdbus::Result<>&& result, const std::string& level);
  void history(const Caller& caller, sdbus::Result<std::vector<wire::HistoryRow>>&& result,
               const std::string& name, std::uint64_t since, std::uint64_t until,
               const std::string& outcome, std::uint32_t limit);
  void calendar(const Caller& caller,
                sdbus::Result<std::vector<std::uint64_t>, std::string>&& result,
                const std::string& name, std::uint32_t count);
  void receipt(const Caller& caller,
               sdbus::Result<wire::Details, std::vector<wire::Minute>>&& result,
               std::uint64_t call_id);
  void wallet(const Caller& caller,
              sdbus::Result<std::int64_t, std::string, std::vector<std::int64_t>,
                            std::vector<wire::WalletEntry>>&& result,
              std::uint64_t user_id, std::uint32_t limit);

 private:
  template <typename... Results, typename Then>
  void admit(const Caller& caller, sdbus::Result<Results...>&& result, Then then);
  template <typename... Results, typename Then>
  void with_permission(const Caller& caller, const char* verb, sdbus::Result<Results...>&& result,
                       Then then);

  Office& office_;
  OpenCalls& calls_;
  Gate& gate_;
};

}  // namespace saathii::control
