#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "saathii/config/changes.hpp"
#include "saathii/config/loader.hpp"
#include "saathii/postgres/pool.hpp"
#include "saathii/runner/runner.hpp"
#include "saathii/runner/side_worker.hpp"

namespace saathii::app {

/// The jobs that are enabled, made of `config`.
[[nodiscard]] std::vector<runner::JobSpec> make_jobs(const config::Config& config,
                                                     postgres::Pool& pool,
                                                     ServerState& redis_state);

/// Puts a changed configuration in force while the daemon runs. Loop thread.
class Reloader {
 public:
  struct Parts {
    runner::Runner& runner;
    runner::SideWorker& worker;  ///< reads the file
    postgres::Pool& pool;
    ServerState& redis_state;
  };

  Reloader(Parts parts, std::string file, std::vector<config::KindInfo> kinds,
           config::Config in_force);

  /// For what else follows the configuration: called with the new one.
  void on_apply(std::function<void(const config::Config&)> callback) {
    callbacks_.push_back(std::move(callback));
  }

  /// Reads the whole file and either puts all of it in force or, if anything is
  /// wrong with it, nothing. The journal says which. Throws runner::Overloaded
  /// while another reload goes on or the daemon stops.
  boost::asio::awaitable<config::Reloaded> reload();

  /// For SIGHUP, which nobody waits for.
  void reload_in_background();

  [[nodiscard]] const config::Config& in_force() const noexcept { return in_force_; }

 private:
  config::Changes apply(config::Config wanted);

  const Parts parts_;
  const std::string file_;
  const std::vector<config::KindInfo> kinds_;
  config::Config in_force_;
  std::vector<std::function<void(const config::Config&)>> callbacks_;
  bool busy_ = false;
};

}  // namespace saathii::app
