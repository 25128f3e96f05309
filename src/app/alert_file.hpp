#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <vector>

#include "saathii/alert/rules.hpp"
#include "saathii/runner/side_worker.hpp"
#include "state_file.hpp"

namespace saathii::app {

/// Which alerts people were told of, kept in the service's state folder, so that
/// they hear of the recovery although saathiid was restarted in between.
class AlertFile {
 public:
  /// In the first folder of $STATE_DIRECTORY; without one, nothing is kept.
  [[nodiscard]] static AlertFile in_state_folder();
  explicit AlertFile(StateFile file) : file_(std::move(file)) {}

  /// A file that cannot be read or understood is told in the log: nobody was told
  /// of anything then.
  [[nodiscard]] std::vector<alert::Told> load() const;

  /// Replaces the file, durably. Throws std::runtime_error. Blocks: worker thread.
  void save(const std::vector<alert::Told>& told) const;

 private:
  StateFile file_;
};

/// Saves on a worker what the loop hands it: the latest, one at a time. Loop thread.
class AlertKeeper {
 public:
  /// The loop and the worker outlive it.
  AlertKeeper(boost::asio::any_io_executor loop, runner::SideWorker& worker, AlertFile file);

  /// At the start.
  [[nodiscard]] std::vector<alert::Told> load();
  /// What fails is told in the log and tried again with the next call.
  void keep(std::vector<alert::Told> told);
  /// From now on keep() itself saves.
  void loop_has_ended() { loop_ended_ = true; }

 private:
  boost::asio::awaitable<void> save();
  static void warn(const std::exception& error);

  boost::asio::any_io_executor loop_;
  runner::SideWorker& worker_;
  const AlertFile file_;
  std::vector<alert::Told> latest_;
  std::vector<alert::Told> saved_;
  bool saving_ = false;
  bool loop_ended_ = false;
};

}  // namespace saathii::app
