#pragma once

#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "saathii/alert/message.hpp"
#include "saathii/config/config.hpp"

namespace saathii::alert {

/// One letter on its way through one channel.
struct Delivery {
  std::shared_ptr<const Letter> letter;
  int attempts = 0;  ///< that have ended
  /// Mail: who has got it, and who never will, with the server's answer.
  std::set<std::string> reached = {};
  std::vector<std::string> refused = {};
};

/// What came of one try.
struct Verdict {
  enum class Kind {
    delivered,
    retry,    ///< it may succeed later, unchanged
    refused,  ///< it will not
  };
  Kind kind = Kind::delivered;
  std::string detail;  ///< one sentence, without secrets: what went wrong, what to do
  Duration wait{0};    ///< retry: not before
  /// Retry: the other side is there and has taken up this letter, so another one
  /// may well get through.
  bool is_letters_own = false;
};

/// A way to reach people. One thread at a time; blocks, within the configured
/// time limit, and soon ends after a stop. Does not throw.
class Channel {
 public:
  virtual ~Channel() = default;
  virtual Verdict send(Delivery& delivery, const std::stop_token& stop) = 0;
};

/// The channels' names, as in the configuration.
inline constexpr std::string_view channel_names[] = {"command", "webhook", "mail"};

/// Nothing if it is not configured. Any thread; `name` is one of channel_names.
[[nodiscard]] std::shared_ptr<Channel> make_channel(std::string_view name,
                                                    const config::Alerts& settings);

}  // namespace saathii::alert
