#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "job_object.hpp"
#include "link.hpp"
#include "manager_object.hpp"

namespace saathii::control {

/// Everything that lives and dies with one connection to the bus. Loop thread.
/// Made by make_shared, then start().
class Session : public std::enable_shared_from_this<Session> {
 public:
  enum class Name {
    ours,
    taken,   ///< by another process
    refused  ///< by the bus, for the reason given
  };

  /// `on_lost` and `on_name` (whenever that is another) must not destroy the session.
  Session(Office& office, const Options& options, std::unique_ptr<sdbus::IConnection> connection,
          std::function<void(const std::string& why)> on_lost,
          std::function<void(Name, const std::string& why)> on_name);
  /// Whoever still waits is told that saathiid ends, if `ending` said so.
  ~Session();

  void start();
  void ending();

  /// Compares all with what the bus was told last, and tells it of the difference.
  void publish();
  void run_started(const std::string& job, const runner::RunInProgress& run);
  void tick_ended(const runner::Record& record, Duration busy);
  void health_changed(const health::Report& report);

 private:
  void request_name();
  void learn_name(Name name, const std::string& why);
  template <typename Tell>
  void tell(Tell&& tell_bus) noexcept;

  Office& office_;
  const Options& options_;
  std::function<void(Name, const std::string&)> on_name_;
  std::shared_ptr<Link> link_;
  OpenCalls calls_;
  Gate gate_;
  Requests requests_;
  std::unique_ptr<sdbus::IProxy> bus_;
  boost::asio::steady_timer name_timer_;
  std::pair<std::optional<Name>, std::string> told_;
  ManagerObject manager_;
  std::map<std::string, std::unique_ptr<JobObject>> jobs_;
};

}  // namespace saathii::control
