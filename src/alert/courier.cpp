#include "saathii/alert/courier.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "saathii/base/counted.hpp"
#include "saathii/log/log.hpp"

namespace saathii::alert {

namespace {

constexpr std::size_t max_undelivered = 256;
/// A server that asks for more patience than this is asked earlier all the same.
constexpr Duration longest_wait = std::chrono::minutes{15};

std::vector<log::Field> fields_of(const std::string& channel, const Delivery& delivery) {
  const Message& message = delivery.letter->message;
  std::vector<log::Field> fields = {{"ALERT", message.alerts.empty() ? "" : message.alerts.front()},
                                    {"ALERT_EVENT", std::string(to_string(message.event))},
                                    {"CHANNEL", channel},
                                    {"ATTEMPTS", std::to_string(delivery.attempts)}};
  const bool is_job = !message.kinds.empty() && message.kinds.front() != Kind::unhealthy;
  if (is_job) {
    fields.emplace_back("JOB", message.subject);
  }
  if (!message.run_id.empty()) {
    fields.emplace_back("RUN_ID", message.run_id);
  }
  return fields;
}

/// Not folded: each alert has its line, and how many there are is bounded.
void tell(log::Level level, log::Message id, const std::string& text, const std::string& channel,
          const Delivery& delivery) {
  const log::Scope scope(fields_of(channel, delivery));
  log::write_unfolded(level, id, text);
}

/// The process's signals are the loop's: this thread gets none, and neither do
/// the programs that it starts inherit a mask of the loop's.
template <typename Work>
std::thread start_quiet_thread(Work&& work) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::forward<Work>(work));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

Courier::Courier(std::string name, CourierOptions options)
    : name_(std::move(name)), options_(options), backoff_(options.backoff, options.backoff_cap) {}

Courier::~Courier() {
  begin_finish(std::chrono::steady_clock::now());
  finish();
}

void Courier::use(std::shared_ptr<Channel> channel, Duration give_up_after) {
  const std::scoped_lock lock(mutex_);
  channel_ = std::move(channel);
  options_.give_up_after = give_up_after;
  backoff_.reset();
  next_try_.reset();
  stop_.request_stop();
  if (!channel_) {
    for (const Entry& entry : queue_) {
      lose(entry, "this way of sending alerts is no longer configured");
    }
    queue_.clear();
  } else if (!thread_.joinable()) {
    thread_ = start_quiet_thread([this] { work(); });
  }
  changed_.notify_all();
}

void Courier::post(std::shared_ptr<const Letter> letter) {
  const std::scoped_lock lock(mutex_);
  if (!channel_ || deadline_) {
    return;
  }
  supersede(*letter);
  if (queue_.size() >= options_.queue_limit) {
    make_room();
  }
  queue_.push_back({{std::move(letter)}, std::chrono::steady_clock::now()});
  changed_.notify_all();
}

/// Of one alert that goes on, only the newest repetition need wait.
void Courier::supersede(const Letter& letter) {
  const Message& message = letter.message;
  if (message.event == Message::Event::repeated) {
    std::erase_if(queue_, [&](const Entry& entry) {
      const Message& waiting = entry.delivery.letter->message;
      return waiting.event == Message::Event::repeated && waiting.alerts == message.alerts;
    });
  }
}

/// Drops the oldest letter that does not open an alert or, if all do, the oldest.
void Courier::make_room() {
  auto victim = std::find_if(queue_.begin(), queue_.end(), [](const Entry& entry) {
    return entry.delivery.letter->message.event != Message::Event::opened;
  });
  if (victim == queue_.end()) {
    victim = queue_.begin();
  }
  remember_undelivered(victim->delivery.letter->message);
  queue_.erase(victim);
  ++counts_.dropped;
  if (dropped_now_++ == 0) {
    log::write_unfolded(log::Level::warning,
                        fmt::format("more than {} alerts wait to be sent by {}: the oldest are "
                                    "dropped until it works again",
                                    options_.queue_limit, name_),
                        {{"CHANNEL", name_}});
  }
}

void Courier::remember_undelivered(const Message& message) {
  if (message.event != Message::Event::opened) {
    return;
  }
  if (undelivered_.size() >= max_undelivered) {
    undelivered_.erase(undelivered_.begin());
  }
  undelivered_.insert(message.alerts.begin(), message.alerts.end());
}

void Courier::lose(const Entry& entry, const std::string& why) {
  remember_undelivered(entry.delivery.letter->message);
  ++counts_.given_up;
  tell(log::Level::warning, log::Message::alert_failed,
       fmt::format("alert not sent by {}: {}: {}", name_, entry.delivery.letter->title, why), name_,
       entry.delivery);
}

/// Whether it ends alerts that nobody has heard of.
bool Courier::is_pointless(const Message& message) {
  if (message.event != Message::Event::recovered) {
    return false;
  }
  std::size_t unknown = 0;
  for (const std::string& alert : message.alerts) {
    unknown += undelivered_.erase(alert);
  }
  return unknown == message.alerts.size();
}

void Courier::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto now = std::chrono::steady_clock::now();
    if (deadline_ && (queue_.empty() || now >= *deadline_)) {
      return;
    }
    if (queue_.empty()) {
      changed_.wait(lock);
    } else if (next_try_ && now < *next_try_ && !deadline_) {
      changed_.wait_until(lock, *next_try_);
    } else {
      attempt(lock);
      changed_.notify_all();
    }
  }
}

/// The lock is open while the channel is at work.
void Courier::attempt(std::unique_lock<std::mutex>& lock) {
  Entry entry = std::move(queue_.front());
  queue_.pop_front();
  if (is_pointless(entry.delivery.letter->message)) {
    tell(log::Level::info, log::Message::none,
         fmt::format("alert not sent by {}: {}: its opening was not sent either", name_,
                     entry.delivery.letter->title),
         name_, entry.delivery);
    return;
  }
  const std::shared_ptr<Channel> channel = channel_;
  stop_ = std::stop_source{};
  const std::stop_token stop = stop_.get_token();
  trying_ = true;
  lock.unlock();
  const Verdict verdict = channel->send(entry.delivery, stop);
  lock.lock();
  trying_ = false;
  if (stop.stop_requested() && verdict.kind == Verdict::Kind::retry && !deadline_) {
    // Broken off for another channel's sake: no try.
    if (channel_) {
      queue_.push_front(std::move(entry));
    } else {
      lose(entry, "this way of sending alerts is no longer configured");
    }
    return;
  }
  ++entry.delivery.attempts;
  settle(std::move(entry), verdict);
}

void Courier::settle(Entry entry, const Verdict& verdict) {
  const auto now = std::chrono::steady_clock::now();
  const std::string& title = entry.delivery.letter->title;
  if (verdict.kind == Verdict::Kind::delivered) {
    ++counts_.delivered;
    backoff_.reset();
    next_try_.reset();
    for (const std::string& alert : entry.delivery.letter->message.alerts) {
      undelivered_.erase(alert);
    }
    const bool whole = verdict.detail.empty();
    tell(whole ? log::Level::info : log::Level::warning, log::Message::alert_sent,
         fmt::format("alert sent by {}: {}{}", name_, title, whole ? "" : ": " + verdict.detail),
         name_, entry.delivery);
    if (queue_.empty() && dropped_now_ > 0) {
      log::write_unfolded(log::Level::warning,
                          fmt::format("{} works again; {} dropped meanwhile", name_,
                                      counted(std::exchange(dropped_now_, 0), "alert")),
                          {{"CHANNEL", name_}});
    }
    return;
  }
  ++counts_.tries_failed;
  if (verdict.kind == Verdict::Kind::refused) {
    lose(entry, verdict.detail);
  } else if (deadline_) {
    lose(entry, "saathiid ends; " + verdict.detail);
  } else if (now - entry.posted >= options_.give_up_after) {
    lose(entry, fmt::format("given up after {}: {}", counted(entry.delivery.attempts, "attempt"),
                            verdict.detail));
  } else {
    const Duration pause = std::max(backoff_.next(), std::min(verdict.wait, longest_wait));
    next_try_ = now + pause;
    const log::Scope scope(fields_of(name_, entry.delivery));
    log::warning(
        fmt::format("an alert cannot be sent by {} and is tried again: {}", name_, verdict.detail));
    queue_.push_front(std::move(entry));
  }
}

void Courier::begin_finish(Steady deadline) {
  const std::scoped_lock lock(mutex_);
  deadline_ = deadline;
  changed_.notify_all();
}

void Courier::finish() {
  std::unique_lock lock(mutex_);
  deadline_ = deadline_.value_or(std::chrono::steady_clock::now());
  if (thread_.joinable()) {
    // The try in progress ends by itself, or is broken off at the deadline.
    const auto done = [&] { return !trying_ && queue_.empty(); };
    while (!done() && std::chrono::steady_clock::now() < *deadline_) {
      changed_.wait_until(lock, *deadline_);
    }
    stop_.request_stop();
    lock.unlock();
    thread_.join();
    lock.lock();
  }
  for (const Entry& entry : queue_) {
    lose(entry, "saathiid ended before it could be");
  }
  queue_.clear();
  channel_.reset();
}

ChannelCounts Courier::counts() const {
  const std::scoped_lock lock(mutex_);
  ChannelCounts counts = counts_;
  counts.waiting = queue_.size() + (trying_ ? 1 : 0);
  return counts;
}

}  // namespace saathii::alert
