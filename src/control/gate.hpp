#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/control/sdbus.hpp"

namespace saathii::control {

/// May the caller do that? Asks the bus who it is and, unless it is root or the
/// daemon's own user, polkit; all of it without waiting. Loop thread.
class Gate {
 public:
  struct Options {
    std::vector<uid_t> trusted;  ///< not asked of polkit
    Duration bus_timeout;        ///< for the bus to say who a caller is
    Duration polkit_timeout;
    Duration password_timeout;  ///< for polkit while it asks a person
  };
  struct Verdict {
    bool allowed = false;
    std::string by;       ///< who was allowed: "root", "uid 1000"
    std::string why_not;  ///< a sentence
  };
  using Then = std::function<void(const Verdict&)>;

  /// The connection outlives the gate. `sent` is called after each question; `later`
  /// calls what it is given in another turn of the loop.
  Gate(sdbus::IConnection& connection, Options options, std::function<void()> sent,
       std::function<void(std::function<void()>)> later);
  /// What is asked then is never answered.
  ~Gate();

  /// `action` is a polkit action. Calls `then` later, not from within; it does not throw.
  void check(const Caller& caller, const std::string& action, Then then);

 private:
  struct Question;
  void ask_bus(const std::shared_ptr<Question>& question);
  void judge(const std::shared_ptr<Question>& question, uid_t uid);
  void ask_polkit(const std::shared_ptr<Question>& question);
  void answer(const std::shared_ptr<Question>& question, const Verdict& verdict);
  void refuse(const std::shared_ptr<Question>& question, std::string why_not);

  const Options options_;
  std::function<void()> sent_;
  std::function<void(std::function<void()>)> later_;
  /// By name on the bus, which is never given twice.
  std::unordered_map<std::string, uid_t> uids_;
  std::uint64_t questions_ = 0;
  std::unique_ptr<sdbus::IProxy> bus_;
  std::unique_ptr<sdbus::IProxy> polkit_;
};

}  // namespace saathii::control
