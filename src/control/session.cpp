#include "session.hpp"

#include <unistd.h>

#include <boost/asio/post.hpp>
#include <set>
#include <utility>

namespace saathii::control {

namespace {

constexpr std::uint32_t do_not_queue = 4;
// The bus's answers to a request for a name.
constexpr std::uint32_t primary_owner = 1;
constexpr std::uint32_t already_owner = 4;
constexpr const char* policy_hint =
    " (is com.saathiiapp.Tasks1.conf where the bus reads its policy, and does saathiid run as the "
    "user that it names?)";

Gate::Options gate_options(const Options& options) {
  return {.trusted = options.trusted.value_or(std::vector<uid_t>{0, ::geteuid()}),
          .bus_timeout = options.bus_timeout,
          .polkit_timeout = options.polkit_timeout,
          .password_timeout = options.password_timeout};
}

}  // namespace

Session::Session(Office& office, const Options& options,
                 std::unique_ptr<sdbus::IConnection> connection,
                 std::function<void(const std::string& why)> on_lost,
                 std::function<void(Name, const std::string& why)> on_name)
    : office_(office),
      options_(options),
      on_name_(std::move(on_name)),
      link_(std::make_shared<Link>(office.desk.runner.loop(), std::move(connection),
                                   std::move(on_lost), Link::Patience{})),
      calls_({.all = options.max_open_calls, .of_one_user = options.max_open_calls_each},
             [this] { link_->sent(); }),
      gate_(
          link_->connection(), gate_options(options), [this] { link_->sent(); },
          [&runner = office.desk.runner](std::function<void()> call) {
            boost::asio::post(runner.loop(), std::move(call));
          }),
      requests_(office, calls_, gate_),
      bus_(make_proxy(link_->connection(), "org.freedesktop.DBus", "/org/freedesktop/DBus")),
      name_timer_(office.desk.runner.loop()),
      manager_(link_->connection(), office.desk, requests_) {
  for (const runner::JobView& job : office_.desk.runner.jobs()) {
    jobs_[job.name] = std::make_unique<JobObject>(link_->connection(), requests_, job);
  }
}

Session::~Session() { link_->close(); }

void Session::start() {
  link_->start();
  request_name();
}

void Session::ending() {
  calls_.refuse_all(
      to_bus_error(std::make_exception_ptr(Refusal("ShuttingDown", "saathiid is shutting down"))));
}

void Session::request_name() {
  tell([&] {
    (void)bus_->callMethodAsync("RequestName")
        .onInterface("org.freedesktop.DBus")
        .withTimeout(options_.bus_timeout)
        .withArguments(std::string(wire::bus_name), do_not_queue)
        .uponReplyInvoke([this](CallError error, std::uint32_t answer) {
          if (error) {
            const bool by_policy = error->getName() == "org.freedesktop.DBus.Error.AccessDenied";
            learn_name(Name::refused, error->getMessage() + (by_policy ? policy_hint : ""));
          } else {
            const bool ours = answer == primary_owner || answer == already_owner;
            learn_name(ours ? Name::ours : Name::taken, "");
          }
        });
  });
}

void Session::learn_name(Name name, const std::string& why) {
  if (std::exchange(told_, {name, why}) != std::pair{std::optional{name}, why}) {
    on_name_(name, why);
  }
  if (name == Name::ours) {
    return;
  }
  name_timer_.expires_after(options_.name_retry);
  name_timer_.async_wait([weak = weak_from_this()](const auto& error) {
    const auto self = weak.lock();
    if (!error && self != nullptr) {
      self->request_name();
    }
  });
}

/// What cannot be sent is not worth a word: the link notices that it is lost.
template <typename Tell>
void Session::tell(Tell&& tell_bus) noexcept {
  try {
    tell_bus();
  } catch (const std::exception&) {
  }
  link_->sent();
}

void Session::publish() {
  bool told = manager_.update();
  std::set<std::string> gone;
  for (const auto& [name, object] : jobs_) {
    gone.insert(name);
  }
  for (const runner::JobView& job : office_.desk.runner.jobs()) {
    gone.erase(job.name);
    const auto known = jobs_.find(job.name);
    if (known != jobs_.end()) {
      told = known->second->update(job) || told;
    } else {
      auto object = std::make_unique<JobObject>(link_->connection(), requests_, job);
      jobs_.emplace(job.name, std::move(object)).first->second->announce();
      told = true;
    }
  }
  for (const std::string& name : gone) {
    const auto object = jobs_.extract(name);
    object.mapped()->take_leave();
    told = true;
  }
  if (told) {
    link_->sent();
  }
}

void Session::run_started(const std::string& job, const runner::RunInProgress& run) {
  tell([&] { manager_.emitRunStarted(job, run.run_id, wire::moment(run.scheduled_at)); });
}

void Session::tick_ended(const runner::Record& record, Duration busy) {
  tell([&] {
    manager_.emitRunFinished(
        record.job, wire::text(record.run_id), std::string(schedule::to_string(record.outcome)),
        wire::text(record.reason), wire::counts(record.counts), wire::length(busy));
  });
}

void Session::health_changed(const health::Report& report) {
  tell([&] {
    manager_.emitHealthChanged(std::string(health::to_string(report.level)),
                               wire::findings(report));
  });
}

}  // namespace saathii::control
