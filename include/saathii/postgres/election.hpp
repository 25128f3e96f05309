#pragma once

#include <functional>
#include <memory>
#include <string>

#include "saathii/base/server_state.hpp"
#include "saathii/config/config.hpp"
#include "saathii/runner/types.hpp"

namespace saathii::postgres {

/// Sees to it that one of the instances that serve a database leads, on a thread
/// and a session of its own. It never says that this instance leads no more
/// because of the time alone: what is done under an older term fails by its
/// fence (Session::fence), and that, or the next look, is how it learns of it.
class Election {
 public:
  struct Options {
    std::string id;        ///< of this process: a random UUID
    std::string instance;  ///< the name of this instance, for people
    /// Who leads and has not said so for this long is taken for dead. The session
    /// of one that was killed is gone sooner, and seen to be.
    Duration lease = std::chrono::seconds{10};
    Duration retry = std::chrono::seconds{1};  ///< after the server was not there
  };
  using Changed = std::function<void(const runner::Leadership&)>;

  /// `changed` is called on the election's thread, whenever who leads, or under
  /// which term, is another than before; `help_wanted`, on an instance that stands
  /// by, when the leader offers a share of its work. `state` outlives the election.
  Election(
      config::Postgres settings, ServerState& state, Options options, Changed changed,
      std::function<void()> help_wanted = [] {});
  /// Resigns, if that was not done.
  ~Election();
  Election(const Election&) = delete;
  Election& operator=(const Election&) = delete;

  /// From now on: the tables are there. Any thread; more than once is once.
  void begin();
  /// Looks at once, and tells what it finds also if that is not new: a run was
  /// deposed. Any thread.
  void look_now();
  /// Gives up on a server that leaves a call unanswered for longer than a lease, and
  /// looks for another. To be called now and then; any thread.
  void break_off_if_stuck();
  /// No longer leads or wants to; another may at once. Returns when that is done,
  /// or after about a connect_timeout where the server is not there. What was
  /// begun under the term must have ended. Not called: changed.
  void resign();

 private:
  class Thread;
  std::unique_ptr<Thread> thread_;
};

}  // namespace saathii::postgres
