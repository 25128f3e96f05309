#include "gate.hpp"

#include <fmt/format.h>

#include <algorithm>
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

}  // namespace

struct Gate::Question {
  Caller caller;
  std::string action;
  std::string cancellation;
  std::string by;
  Then then;
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

void Gate::check(const Caller& caller, const std::string& action, Then then) {
  auto question = std::make_shared<Question>();
  question->caller = caller;
  question->action = action;
  question->then = std::move(then);
  const auto known = uids_.find(caller.name);
  if (known != uids_.end()) {
    judge(question, known->second);
  } else {
    ask_bus(question);
  }
}

void Gate::ask_bus(const std::shared_ptr<Question>& question) {
  (void)bus_->callMethodAsync("GetConnectionUnixUser")
      .onInterface(bus_interface)
      .withTimeout(options_.bus_timeout)
      .withArguments(question->caller.name)
      .uponReplyInvoke([this, question](CallError error, std::uint32_t uid) {
        if (error) {
          refuse(question, "the bus does not say who asks: " + error->getMessage());
          return;
        }
        if (uids_.size() >= max_known_callers) {
          uids_.clear();
        }
        uids_[question->caller.name] = uid;
        judge(question, uid);
      });
  sent_();
}

void Gate::judge(const std::shared_ptr<Question>& question, uid_t uid) {
  question->by = name_of(uid);
  const auto& trusted = options_.trusted;
  if (std::find(trusted.begin(), trusted.end(), uid) != trusted.end()) {
    answer(question, {.allowed = true, .by = question->by, .why_not = {}});
    return;
  }
  try {
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
          // So that no window stays open that asks for a password in vain.
          (void)polkit_->callMethodAsync("CancelCheckAuthorization")
              .onInterface(polkit_interface)
              .withArguments(question->cancellation)
              .uponReplyInvoke([](CallError) {});
          refuse(question, "polkit did not answer in time");
        } else {
          refuse(question, "polkit refuses to answer: " + error->getMessage());
        }
      });
  sent_();
}

/// Never from within a handler of the object that was called: what follows may
/// destroy that object.
void Gate::answer(const std::shared_ptr<Question>& question, const Verdict& verdict) {
  later_([then = std::move(question->then), verdict] { then(verdict); });
}

void Gate::refuse(const std::shared_ptr<Question>& question, std::string why_not) {
  answer(question, {.allowed = false,
                    .by = {},
                    .why_not = fmt::format("{} is not allowed: {}", question->action, why_not)});
}

}  // namespace saathii::control
