#pragma once

#include <map>
#include <string>

#include "saathii/runner/job_view.hpp"
#include "state_file.hpp"

namespace saathii::app {

/// Which jobs are paused, kept in the service's state folder ($STATE_DIRECTORY),
/// so that a restart does not resume what an operator has set aside.
class PauseFile {
 public:
  using Pauses = std::map<std::string, runner::Pause>;

  /// In the first folder of $STATE_DIRECTORY; without one, nothing is kept.
  [[nodiscard]] static PauseFile in_state_folder();
  explicit PauseFile(StateFile file) : file_(std::move(file)) {}

  /// A file that cannot be read or understood is told in the log: nothing is
  /// paused then.
  [[nodiscard]] Pauses load() const;

  /// Replaces the file, durably. Throws std::runtime_error with what failed and
  /// what that means. Blocks: worker thread.
  void save(const Pauses& pauses) const;

 private:
  StateFile file_;
};

}  // namespace saathii::app
