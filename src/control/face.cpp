#include "saathii/control/face.hpp"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "dial.hpp"
#include "saathii/runner/backoff.hpp"
#include "saathii/runner/bell.hpp"
#include "session.hpp"

namespace saathii::control {

namespace {

namespace asio = boost::asio;

std::string describe(const std::string& bus) {
  return bus == "system" || bus == "session" ? "the " + bus + " bus" : "the bus at " + bus;
}

}  // namespace

class Face::Impl {
 public:
  Impl(Desk desk, Options options)
      : options_(std::move(options)),
        office_{std::move(desk), [this] { publish(); }},
        bell_(office_.desk.runner.loop()) {
    office_.desk.health.on_change([this](const health::Report& report) {
      if (session_ != nullptr) {
        session_->health_changed(report);
        publish_soon();
      }
    });
  }

  void start() {
    if (options_.bus == "none") {
      log::info("not on D-Bus: control.bus is \"none\"");
      return;
    }
    asio::co_spawn(
        office_.desk.runner.loop(), stay_connected(), [](const std::exception_ptr& fault) {
          if (fault) {
            log::error(log::Message::fault,
                       std::string("saathiid is on D-Bus no more, because of a fault that it does "
                                   "not expect: ") +
                           to_bus_error(fault).getMessage());
          }
        });
  }

  void end() {
    ending_ = true;
    if (session_ != nullptr) {
      session_->ending();
      session_.reset();
    }
    bell_.ring();
  }

  /// Many things happen in one turn of the loop: one look after them is enough.
  void publish_soon() {
    if (session_ == nullptr || std::exchange(publishing_, true)) {
      return;
    }
    asio::post(office_.desk.runner.loop(), [this] {
      if (publishing_) {
        publish();
      }
    });
  }

  [[nodiscard]] Session* session() const noexcept { return session_.get(); }

 private:
  void publish() {
    publishing_ = false;
    try {
      if (session_ != nullptr) {
        session_->publish();
      }
    } catch (const std::exception& error) {
      log::debug(std::string("the bus could not be told of a change: ") + error.what());
    }
  }

  /// Coroutine for the life of the daemon.
  asio::awaitable<void> stay_connected() {
    runner::Backoff backoff(options_.retry, options_.retry_cap);
    while (!ending_) {
      std::string why;
      std::unique_ptr<sdbus::IConnection> connection = co_await connect(why);
      if (connection != nullptr && !ending_) {
        backoff.reset();
        open(std::move(connection));
        while (lost_.empty() && !ending_) {
          co_await bell_.wait_until(runner::SteadyTime::max());
        }
        session_.reset();
        why = std::exchange(lost_, {});
      }
      if (ending_) {
        break;
      }
      tell_away(why);
      co_await bell_.wait_until(std::chrono::steady_clock::now() + backoff.next());
    }
  }

  asio::awaitable<std::unique_ptr<sdbus::IConnection>> connect(std::string& why) {
    std::unique_ptr<sdbus::IConnection> connection;
    auto work = [&](const std::stop_token& stop) {
      try {
        connection = dial(options_.bus, stop);
      } catch (const std::exception& error) {
        why = error.what();
      }
    };
    try {
      co_await office_.desk.dialler.run(work);
    } catch (const runner::Overloaded& error) {
      why = error.what();
    }
    co_return connection;
  }

  void open(std::unique_ptr<sdbus::IConnection> connection) {
    try {
      session_ = std::make_shared<Session>(
          office_, options_, std::move(connection), [this](const std::string& why) { lose(why); },
          [this](Session::Name name, const std::string& why) { tell_name(name, why); });
      session_->start();
    } catch (const std::exception& error) {
      lose(error.what());
    }
  }

  void lose(const std::string& why) {
    lost_ = why.empty() ? "the connection is lost" : why;
    bell_.ring();
  }

  void tell_away(const std::string& why) {
    if (!std::exchange(told_away_, true)) {
      log::write_unfolded(
          log::Level::warning, log::Message::bus_away,
          fmt::format("not on {}: {}; saathiid does its work all the same, but cannot be "
                      "controlled there; it tries again now and then",
                      describe(options_.bus), why));
    }
  }

  void tell_name(Session::Name name, const std::string& why) {
    told_away_ = false;
    const std::string bus = describe(options_.bus);
    switch (name) {
      case Session::Name::ours:
        log::write_unfolded(log::Level::info, log::Message::bus_joined,
                            fmt::format("on {} as {}", bus, wire::bus_name));
        break;
      case Session::Name::taken:
        log::write_unfolded(
            log::Level::warning, log::Message::bus_away,
            fmt::format("another process, another saathiid perhaps, is {} on {}: this one cannot "
                        "be controlled there by that name; it tries again now and then",
                        wire::bus_name, bus));
        break;
      case Session::Name::refused:
        log::write_unfolded(log::Level::warning, log::Message::bus_away,
                            fmt::format("cannot be {} on {}: {}; it tries again now and then",
                                        wire::bus_name, bus, why));
        break;
    }
  }

  const Options options_;
  Office office_;
  runner::Bell bell_;  ///< rung when the connection is lost, and at the end
  std::shared_ptr<Session> session_;
  std::string lost_;
  bool told_away_ = false;
  bool publishing_ = false;
  bool ending_ = false;
};

Face::Face(Desk desk, Options options)
    : impl_(std::make_unique<Impl>(std::move(desk), std::move(options))) {}

Face::~Face() = default;

void Face::armed(std::size_t /*jobs*/) { impl_->start(); }

void Face::run_started(const std::string& job, const runner::RunInProgress& run) {
  if (Session* session = impl_->session()) {
    session->run_started(job, run);
  }
  impl_->publish_soon();
}

void Face::tick_ended(const runner::Record& record, Duration busy) {
  if (Session* session = impl_->session()) {
    session->tick_ended(record, busy);
  }
  impl_->publish_soon();
}

void Face::wedged(const std::string& /*job*/) { impl_->publish_soon(); }
void Face::released(const std::string& /*job*/) { impl_->publish_soon(); }
void Face::job_changed(const std::string& /*job*/) { impl_->publish_soon(); }
void Face::jobs_changed(const std::vector<std::string>& /*jobs*/) { impl_->publish_soon(); }
void Face::server_changed() { impl_->publish_soon(); }
void Face::reloaded() { impl_->publish_soon(); }
void Face::heartbeat() { impl_->publish_soon(); }
void Face::ending() { impl_->end(); }

}  // namespace saathii::control
