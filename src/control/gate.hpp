#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "saathii/base/time.hpp"
#include "saathii/control/sdbus.hpp"

namespace saathii::control {

/// Who is the caller, and may it do that? Asks the bus who it is and, unless it is
/// root or the daemon's own user, polkit; all of it without waiting. Loop thread.
class Gate {
 public:
  struct Options {
    std::vector<uid_t> trusted;  ///< not asked of polkit
    Duration bus_timeout;        ///< for the bus to say who a caller is
    Duration polkit_timeout;
    Duration password_timeout;  ///< for polkit while it asks a person
  };
  struct Identity {
    std::optional<uid_t> uid;  ///< none: the bus does not tell
    bool trusted = false;
    std::string why_not;  ///< a sentence, if there is no uid
  };
  using Known = std::function<void(const Identity&)>;
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

  /// Calls `then` at once or later; it does not throw.
  void identify(const Caller& caller, Known then);

  /// `action` is a polkit action, `uid` the caller's. Calls `then` later, not from
  /// within; it does not throw. A caller that leaves the bus meanwhile is refused.
  void check(const Caller& caller, uid_t uid, const std::string& action, Then then);

 private:
  struct Question;
  [[nodiscard]] bool trusts(uid_t uid) const;
  void ask_polkit(const std::shared_ptr<Question>& question);
  void cancel(const Question& question);
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
