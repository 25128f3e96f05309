#include "gate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

namespace saathii::control {

namespace {

constexpr const char* bus_interface = "org.freedesktop.DBus";
constexpr const char* polkit_interface = "org.freedesktop.PolicyKit1.Authority";
constexpr std::size_t max_known_callers = 1024;
constexpr std::uint32_t allow_user_interaction = 1;

/// is authorized, would be after a challenge, details.
using PolkitResult = sdbus::Struct<bool, bool, std::map<std::string, std::string>>;
using Subject = sdbus::Struct<std::string, std::map<std::string, sdbus::Variant>>;

std::string name_of(uid_t uid) {
  // Not by its name: to look that up may ask a server, and block.
  return uid == 0 ? "root" : fmt::format("uid {}", uid);
}

/// Whether nobody is there who could answer, by the bus's word.
bool nobody_there(std::string_view error) {
  constexpr std::string_view prefix = "org.freedesktop.DBus.Error.";
  if (!error.starts_with(prefix)) {
    return false;
  }
  error.remove_prefix(prefix.size());
  return error == "ServiceUnknown" || error == "NameHasNoOwner" || error.starts_with("Spawn.");
}

bool timed_out(std::string_view error) {
  return error == "org.freedesktop.DBus.Error.NoReply" ||
         error == "org.freedesktop.DBus.Error.Timeout" ||
         error == "org.freedesktop.DBus.Error.TimedOut";
}

/// Tells once that a connection has left the bus. Until then, and no longer than
/// it lives, the bus is asked to tell: not of everybody who comes and goes.
class Departure {
 public:
  /// `name` is a connection's own: ":1.42". Throws sdbus::Error.
  Departure(sd_bus* bus, const std::string& name, std::function<void()> left)
      : left_(std::move(left)) {
    const std::string match = fmt::format(
        "type='signal',sender='{0}',path='/org/freedesktop/DBus',interface='{0}',"
        "member='NameOwnerChanged',arg0='{1}'",
        bus_interface, name);
    const auto ignore = [](sd_bus_message*, void*, sd_bus_error*) { return 0; };
    const int done =
        sd_bus_add_match_async(bus, &slot_, match.c_str(), &Departure::on_change, ignore, this);
    if (done < 0) {
      throw make_error("org.freedesktop.DBus.Error.Failed", std::strerror(-done));
    }
  }
  ~Departure() { sd_bus_slot_unref(slot_); }
  Departure(const Departure&) = delete;
  Departure& operator=(const Departure&) = delete;

 private:
  static int on_change(sd_bus_message* /*signal*/, void* self, sd_bus_error* /*error*/) {
    static_cast<Departure*>(self)->left_();
    return 0;
  }

  std::function<void()> left_;
  sd_bus_slot* slot_ = nullptr;
};

}  // namespace

struct Gate::Question {
  Caller caller;
  std::string action;
  std::string cancellation;
  std::string by;
  Then then;  ///< empty: it has been answered
  std::unique_ptr<Departure> departure;
};

Gate::Gate(sdbus::IConnection& connection, Options options, std::function<void()> sent,
           std::function<void(std::function<void()>)> later)
    : options_(std::move(options)),
      sent_(std::move(sent)),
      later_(std::move(later)),
      bus_(make_proxy(connection, "org.freedesktop.DBus", "/org/freedesktop/DBus")),
      polkit_(make_proxy(connection, "org.freedesktop.PolicyKit1",
                         "/org/freedesktop/PolicyKit1/Authority")) {}

Gate::~Gate() = default;

bool Gate::trusts(uid_t uid) const {
  const auto& trusted = options_.trusted;
  return std::find(trusted.begin(), trusted.end(), uid) != trusted.end();
}

void Gate::identify(const Caller& caller, Known then) {
  if (const auto known = uids_.find(caller.name); known != uids_.end()) {
    then({.uid = known->second, .trusted = trusts(known->second), .why_not = {}});
    return;
  }
  (void)bus_->callMethodAsync("GetConnectionUnixUser")
      .onInterface(bus_interface)
      .withTimeout(options_.bus_timeout)
      .withArguments(caller.name)
      .uponReplyInvoke(
          [this, name = caller.name, then = std::move(then)](CallError error, std::uint32_t uid) {
            if (error) {
              then({.uid = {},
                    .trusted = false,
                    .why_not = "the bus does not say who asks: " + error->getMessage()});
              return;
            }
            if (uids_.size() >= max_known_callers) {
              uids_.clear();
            }
            uids_[name] = uid;
            then({.uid = uid, .trusted = trusts(uid), .why_not = {}});
          });
  sent_();
}

void Gate::check(const Caller& caller, uid_t uid, const std::string& action, Then then) {
  auto question = std::make_shared<Question>();
  question->caller = caller;
  question->action = action;
  question->by = name_of(uid);
  question->then = std::move(then);
  if (trusts(uid)) {
    answer(question, {.allowed = true, .by = question->by, .why_not = {}});
    return;
  }
  try {
    // Before the question: whoever leaves from now on is missed.
    question->departure = std::make_unique<Departure>(
        raw_bus(*bus_), caller.name, [this, weak = std::weak_ptr(question)] {
          if (const auto asked = weak.lock()) {
            cancel(*asked);
            refuse(asked, "who asked has left the bus");
          }
        });
    ask_polkit(question);
  } catch (const sdbus::Error& error) {
    refuse(question, "polkit cannot be asked: " + error.getMessage());
  }
}

void Gate::ask_polkit(const std::shared_ptr<Question>& question) {
  question->cancellation = fmt::format("saathiid {}", ++questions_);
  const Subject subject{"system-bus-name", {{"name", sdbus::Variant{question->caller.name}}}};
  const bool interactive = question->caller.interactive;
  (void)polkit_->callMethodAsync("CheckAuthorization")
      .onInterface(polkit_interface)
      .withTimeout(interactive ? options_.password_timeout : options_.polkit_timeout)
      .withArguments(subject, question->action, std::map<std::string, std::string>{},
                     interactive ? allow_user_interaction : std::uint32_t{0},
                     question->cancellation)
      .uponReplyInvoke([this, question](CallError error, const PolkitResult& result) {
        if (!error) {
          if (std::get<0>(result)) {
            answer(question, {.allowed = true, .by = question->by, .why_not = {}});
          } else {
            refuse(question, std::get<1>(result)
                                 ? "an administrator's password is needed, and the call does not "
                                   "allow to ask for it"
                                 : "polkit does not allow it");
          }
          return;
        }
        if (nobody_there(error->getName())) {
          refuse(question, "there is no polkit to ask: only root and saathiid's own user may");
        } else if (timed_out(error->getName())) {
          cancel(*question);
          refuse(question, "polkit did not answer in time");
        } else {
          refuse(question, "polkit refuses to answer: " + error->getMessage());
        }
      });
  sent_();
}

/// So that no window stays open that asks for a password in vain.
void Gate::cancel(const Question& question) {
  (void)polkit_->callMethodAsync("CancelCheckAuthorization")
      .onInterface(polkit_interface)
      .withArguments(question.cancellation)
      .uponReplyInvoke([](CallError) {});
  sent_();
}

/// Never from within a handler of the object that was called: what follows may
/// destroy that object.
void Gate::answer(const std::shared_ptr<Question>& question, const Verdict& verdict) {
  if (question->then) {
    later_([question, then = std::exchange(question->then, nullptr), verdict] {
      question->departure.reset();
      then(verdict);
    });
  }
}

void Gate::refuse(const std::shared_ptr<Question>& question, std::string why_not) {
  answer(question, {.allowed = false,
                    .by = {},
                    .why_not = fmt::format("{} is not allowed: {}", question->action, why_not)});
}

}  // namespace saathii::control
