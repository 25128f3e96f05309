#include "control/answer.hpp"
#include "support.hpp"

// Who may do what: polkit is asked of everybody whom nobody trusts.

namespace saathii::control::test {

namespace {

using Catch::Matchers::ContainsSubstring;
using Says = FakePolkit::Says;

/// A daemon that trusts nobody, and a polkit.
struct Setup {
  explicit Setup(std::optional<std::vector<uid_t>> trusted = std::vector<uid_t>{}) {
    daemon.control.trusted = std::move(trusted);
    daemon.add(minutely("charge"));
  }
  void start() {
    daemon.start_on(ear);
    client = std::make_unique<Client>(bus.address());
  }
  Manager& manager() { return client->manager; }
  std::string me() const { return client->connection->getUniqueName(); }

  PrivateBus bus;
  Ear ear{bus.start().address()};
  Daemon daemon{bus.address()};
  std::unique_ptr<Client> client;
};

enum class Asking { no, yes };

/// A call of Run that waits on a thread of its own.
class Waiting {
 public:
  explicit Waiting(const std::string& address, Asking asking = Asking::no)
      : thread_([this, address, asking] {
          Client client(address);
          if (asking == Asking::yes) {
            allow_passwords(*make_proxy(*client.connection, daemon_name, "/com/saathiiapp/Tasks1"));
          }
          const BusError error = error_of([&] { client.manager.Run("charge", 0); });
          ended_.change([&](std::optional<BusError>& ended) { ended = error; });
        }) {}
  ~Waiting() { thread_.join(); }
  /// How it ended.
  BusError error() {
    REQUIRE(ended_.wait([](const auto& ended) { return ended.has_value(); }));
    return *ended_.get();
  }

 private:
  Watched<std::optional<BusError>> ended_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("each verb is asked of polkit by its action, and reading is free") {
  Setup setup;
  Polkit polkit(setup.bus.address());
  setup.start();
  setup.manager().Run("charge", 0);
  setup.manager().Pause("charge");
  setup.client->job("charge").Resume();
  setup.manager().Reload();
  setup.manager().SetLogLevel("debug");
  CHECK(error_of([&] { setup.manager().CallReceipt(1); }).name == "NotFound");
  CHECK(error_of([&] { setup.manager().Wallet(1, 1); }).name == "NotFound");
  std::vector<std::string> actions;
  for (const auto& question : polkit.fake.state.get().questions) {
    CHECK(question.subject == "system-bus-name " + setup.me());
    CHECK(question.flags == 0);
    actions.push_back(question.action);
  }
  const std::string prefix = "com.saathiiapp.tasks1.";
  CHECK(actions == std::vector<std::string>{prefix + "run", prefix + "pause", prefix + "pause",
                                            prefix + "reload", prefix + "reload",
                                            prefix + "inspect", prefix + "inspect"});
  polkit.fake.say(Says::no);
  setup.manager().ListJobs();
  setup.manager().GetJob("charge");
  setup.manager().Health();
  setup.manager().History("", 0, 0, "", 1);
  setup.manager().Calendar("charge", 1);
  setup.manager().HealthLevel();
  setup.client->job("charge").State();
  CHECK(polkit.fake.state.get().questions.size() == actions.size());
}

TEST_CASE("what polkit does not allow is not done") {
  Setup setup;
  Watched<int> reloads;
  setup.daemon.reload = [&] {
    reloads.change([](int& count) { ++count; });
    return config::Reloaded{};
  };
  Polkit polkit(setup.bus.address());
  setup.start();
  polkit.fake.say(Says::no);
  const BusError no = error_of([&] { setup.manager().Reload(); });
  CHECK(no.name == "NotAuthorized");
  CHECK_THAT(no.message, ContainsSubstring("com.saathiiapp.tasks1.reload is not allowed"));
  polkit.fake.say(Says::password);
  const BusError password = error_of([&] { setup.manager().Reload(); });
  CHECK(password.name == "NotAuthorized");
  CHECK_THAT(password.message, ContainsSubstring("password"));
  CHECK(reloads.get() == 0);
  CHECK(error_of([&] { setup.manager().Pause("charge"); }).name == "NotAuthorized");
  CHECK_FALSE(setup.client->job("charge").Paused());
}

TEST_CASE("root and the daemon's own user are allowed without polkit") {
  Setup setup{std::nullopt};
  Polkit polkit(setup.bus.address());
  setup.start();
  polkit.fake.say(Says::no);
  setup.manager().Pause("charge");
  CHECK(setup.client->job("charge").PausedBy() ==
        (::geteuid() == 0 ? "root" : "uid " + std::to_string(::geteuid())));
  CHECK(polkit.fake.state.get().questions.empty());
}

TEST_CASE("without polkit only the trusted may, and are told so") {
  Setup setup;
  setup.start();
  const BusError error = error_of([&] { setup.manager().Run("charge", 0); });
  CHECK(error.name == "NotAuthorized");
  CHECK_THAT(error.message, ContainsSubstring("there is no polkit to ask"));
  CHECK(setup.daemon.works.at("charge").calls().empty());
}

TEST_CASE("a polkit that does not answer holds up nobody else, and not for ever") {
  Setup setup;
  setup.daemon.control.polkit_timeout = 200ms;
  Polkit polkit(setup.bus.address());
  setup.start();
  polkit.fake.say(Says::nothing);
  Waiting waiting(setup.bus.address());
  REQUIRE(polkit.fake.wait_for_questions(1));
  setup.manager().ListJobs();
  const BusError error = waiting.error();
  CHECK(error.name == "NotAuthorized");
  CHECK_THAT(error.message, ContainsSubstring("did not answer in time"));
  CHECK(polkit.fake.state.wait([](const FakePolkit::State& state) {
    return state.cancelled.size() == 1 && state.cancelled[0] == state.questions.at(0).cancellation;
  }));
}

TEST_CASE("a caller that allows a person to be asked for a password is waited for") {
  Setup setup;
  setup.daemon.control.polkit_timeout = 1ms;
  Polkit polkit(setup.bus.address());
  setup.start();
  polkit.fake.say(Says::nothing);
  Waiting patient(setup.bus.address(), Asking::yes);
  REQUIRE(polkit.fake.wait_for_questions(1));
  // Whoever came later and cannot wait is refused by now.
  Waiting impatient(setup.bus.address());
  CHECK_THAT(impatient.error().message, ContainsSubstring("did not answer in time"));
  REQUIRE(polkit.fake.wait_for_questions(2));  // heard, if later than it was given up
  polkit.fake.allow_unanswered();
  CHECK(patient.error().name.empty());
  const auto questions = polkit.fake.state.get().questions;
  REQUIRE(questions.size() == 2);
  CHECK(questions[0].flags == 1);
  CHECK(questions[1].flags == 0);
}

TEST_CASE("what a caller asked for who has left is not done, and nobody asked for a password") {
  Setup setup;
  Polkit polkit(setup.bus.address());
  setup.start();
  polkit.fake.say(Says::nothing);
  {
    Client leaver(setup.bus.address());
    const auto proxy = make_proxy(*leaver.connection, daemon_name, "/com/saathiiapp/Tasks1");
    (void)proxy->callMethodAsync("Run")
        .onInterface("com.saathiiapp.Tasks1.Manager")
        .withArguments(std::string("charge"), std::uint64_t{0})
        .uponReplyInvoke([](CallError, const std::string&) {});
    REQUIRE(polkit.fake.wait_for_questions(1));
  }
  CHECK(polkit.fake.state.wait([](const FakePolkit::State& state) {
    return state.cancelled.size() == 1 && state.cancelled[0] == state.questions.at(0).cancellation;
  }));
  // Too late: what is allowed next is heard after it.
  polkit.fake.allow_unanswered();
  polkit.fake.say(Says::yes);
  const std::string run_id = setup.manager().Run("charge", 0);
  REQUIRE(setup.ear.wait_for("RunFinished charge " + run_id + " succeeded \"done\" things=1"));
  const auto calls = setup.daemon.works.at("charge").calls();
  REQUIRE(calls.size() == 1);
  CHECK(calls[0].run_id == run_id);
}

TEST_CASE("one user's open calls are bounded, by whatever connections") {
  Setup setup;
  setup.daemon.control.max_open_calls_each = 2;
  Polkit polkit(setup.bus.address());
  setup.start();
  polkit.fake.say(Says::nothing);
  {
    Waiting first(setup.bus.address());
    REQUIRE(polkit.fake.wait_for_questions(1));
    Waiting second(setup.bus.address());
    REQUIRE(polkit.fake.wait_for_questions(2));
    CHECK(error_of([&] { setup.manager().Run("charge", 0); }).name == "Overloaded");
    CHECK(error_of([&] { setup.manager().History("", 0, 0, "", 1); }).name == "Overloaded");
    CHECK(setup.manager().ListJobs().size() == 1);
    // Who waits at the end is told.
    setup.daemon.stop();
    CHECK(first.error().name == "ShuttingDown");
    CHECK(second.error().name == "ShuttingDown");
  }
}

namespace {

/// A call that stays open as long as this lives.
class Open final : public OpenCalls::Call {
 public:
  using Call::Call;
  void refuse(const sdbus::Error& /*error*/) noexcept override { close(); }
  void forget() noexcept override {}
};

}  // namespace

TEST_CASE("users whom nobody trusts take each other's room, and nobody else's") {
  OpenCalls calls({.all = 3, .of_one_user = 2}, [] {});
  Open first(calls, ":1.1"), second(calls, ":1.2"), third(calls, ":1.3"), fourth(calls, ":1.4");
  first.admit(1000, false);
  second.admit(1000, false);
  CHECK_THROWS_AS(third.admit(1000, false), Refusal);
  third.admit(1001, false);
  CHECK_THROWS_AS(fourth.admit(1002, false), Refusal);
  {
    // Root has room all the same, though not without end.
    Open by_root(calls, ":1.5"), again(calls, ":1.5"), more(calls, ":1.6"), most(calls, ":1.6");
    by_root.admit(0, true);
    again.admit(0, true);
    more.admit(0, true);
    CHECK_THROWS_AS(most.admit(0, true), Refusal);
    most.admit(999, true);
  }
  first.refuse(make_error("x.Y", ""));
  fourth.admit(1002, false);
  Open fifth(calls, ":1.7");
  CHECK_THROWS_AS(fifth.admit(1002, false), Refusal);
}

TEST_CASE("calls of users who are not known yet are bounded, too") {
  OpenCalls calls({.all = 3, .of_one_user = 2, .of_unknown_users = 3}, [] {});
  Open first(calls, ":1.1"), second(calls, ":1.1");
  CHECK_THROWS_AS(calls.require_room(":1.1"), Refusal);
  CHECK_NOTHROW(calls.require_room(":1.2"));
  Open third(calls, ":1.2");
  CHECK_THROWS_AS(calls.require_room(":1.3"), Refusal);
  first.admit(1000, false);
  CHECK_NOTHROW(calls.require_room(":1.1"));
  CHECK_NOTHROW(calls.require_room(":1.3"));
}

}  // namespace saathii::control::test
