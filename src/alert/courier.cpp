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

bool has_any(const Message& message, const std::vector<std::string>& alerts) {
  return std::any_of(alerts.begin(), alerts.end(), [&](const std::string& alert) {
    return std::find(message.alerts.begin(), message.alerts.end(), alert) != message.alerts.end();
  });
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

Duration pause_after(const Verdict& verdict, Duration backoff) {
  return std::max(backoff, std::min(verdict.wait, longest_wait));
}

Courier::Courier(std::string name, CourierOptions options)
    : name_(std::move(name)), options_(options), backoff_(options.backoff, options.backoff_cap) {}

Courier::~Courier() {
  begin_finish(std::chrono::steady_clock::now());
  finish();
}

void Courier::use(std::shared_ptr<Channel> channel, Duration give_up_after) {
  const std::scoped_lock lock(mutex_);
  options_.give_up_after = give_up_after;
  if (channel == channel_) {
    return;
  }
  channel_ = std::move(channel);
  backoff_.reset();
  next_try_.reset();
  stop_.request_stop();
  for (Entry& entry : queue_) {
    entry.next_try = entry.posted;
    entry.backoff.reset();
  }
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
  const auto now = std::chrono::steady_clock::now();
  queue_.push_back({{std::move(letter)},
                    ++posted_,
                    now,
                    now,
                    runner::Backoff(options_.backoff, options_.backoff_cap)});
  for (auto entry = queue_.begin(); entry != queue_.end();) {
    if (is_overtaken(*entry)) {
      lose(*entry, "to the others only its recovery is sent");
      entry = queue_.erase(entry);
    } else {
      ++entry;
    }
  }
  if (queue_.size() > options_.queue_limit) {
    make_room();
  }
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

/// Some have got it, and its recovery is not to wait for those who have not: to
/// them a late opening of what is over would be false.
bool Courier::is_overtaken(const Entry& entry) const {
  const Message& message = entry.delivery.letter->message;
  return !entry.delivery.reached.empty() && message.event != Message::Event::recovered &&
         std::any_of(queue_.begin(), queue_.end(), [&](const Entry& other) {
           const Message& later = other.delivery.letter->message;
           return later.event == Message::Event::recovered && has_any(later, message.alerts);
         });
}

bool Courier::is_opening_waiting(const std::string& alert) const {
  const auto opens = [&](const Message& message) {
    return message.event == Message::Event::opened && has_any(message, {alert});
  };
  return (trying_ && opens(trying_->message)) ||
         std::any_of(queue_.begin(), queue_.end(),
                     [&](const Entry& entry) { return opens(entry.delivery.letter->message); });
}

/// The alerts of one recovery that waits behind the openings of all that it ends:
/// without all these letters, people are as wise.
std::set<std::string> Courier::find_untold_and_over() const {
  for (const Entry& entry : queue_) {
    const Message& message = entry.delivery.letter->message;
    const bool is_untold =
        std::all_of(message.alerts.begin(), message.alerts.end(), [&](const std::string& alert) {
          return is_opening_waiting(alert) && !(trying_ && has_any(trying_->message, {alert}));
        });
    if (message.event == Message::Event::recovered && is_untold) {
      return {message.alerts.begin(), message.alerts.end()};
    }
  }
  return {};
}

/// Drops openings together with the recovery that waits behind them; else the
/// oldest letter that neither opens an alert nor ends one whose opening waits;
/// else the oldest opening.
void Courier::make_room() {
  const std::size_t before = queue_.size();
  const std::set<std::string> over = find_untold_and_over();
  std::erase_if(queue_, [&](const Entry& entry) {
    const Message& message = entry.delivery.letter->message;
    return !over.empty() && std::all_of(message.alerts.begin(), message.alerts.end(),
                                        [&](const auto& alert) { return over.contains(alert); });
  });
  if (queue_.size() == before) {
    const auto opens = [](const Entry& entry) {
      return entry.delivery.letter->message.event == Message::Event::opened;
    };
    auto victim = std::find_if(queue_.begin(), queue_.end(), [&](const Entry& entry) {
      const Message& message = entry.delivery.letter->message;
      return !opens(entry) &&
             (message.event != Message::Event::recovered ||
              std::none_of(message.alerts.begin(), message.alerts.end(),
                           [&](const auto& alert) { return is_opening_waiting(alert); }));
    });
    if (victim == queue_.end()) {
      victim = std::find_if(queue_.begin(), queue_.end(), opens);
    }
    if (victim == queue_.end()) {
      victim = queue_.begin();  // all of it ends what is being told of this very moment
    }
    remember_undelivered(victim->delivery);
    queue_.erase(victim);
  }
  const std::size_t dropped = before - queue_.size();
  counts_.dropped += dropped;
  if (dropped_now_ == 0) {
    log::write_unfolded(log::Level::warning,
                        fmt::format("more than {} alerts wait to be sent by {}: the oldest are "
                                    "dropped until it works again",
                                    options_.queue_limit, name_),
                        {{"CHANNEL", name_}});
  }
  dropped_now_ += dropped;
}

void Courier::remember_undelivered(const Delivery& delivery) {
  const Message& message = delivery.letter->message;
  if (message.event != Message::Event::opened || !delivery.reached.empty()) {
    return;
  }
  if (undelivered_.size() >= max_undelivered) {
    undelivered_.erase(undelivered_.begin());
  }
  undelivered_.insert(message.alerts.begin(), message.alerts.end());
}

void Courier::lose(const Entry& entry, const std::string& why) {
  remember_undelivered(entry.delivery);
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
      continue;
    }
    const auto next = find_next();
    const Steady due = std::max(next->next_try, next_try_.value_or(next->next_try));
    if (now < due && !deadline_) {
      changed_.wait_until(lock, due);
    } else {
      attempt(lock, next);
      changed_.notify_all();
    }
  }
}

/// The first that is due, of those that no earlier message of the same alert is
/// waiting before. The queue is not empty.
Courier::Queue::iterator Courier::find_next() {
  auto best = queue_.begin();
  if (deadline_) {
    return best;  // the last try of each
  }
  for (auto entry = std::next(best); entry != queue_.end(); ++entry) {
    const auto& alerts = entry->delivery.letter->message.alerts;
    const bool is_behind = std::any_of(queue_.begin(), entry, [&](const Entry& earlier) {
      return has_any(earlier.delivery.letter->message, alerts);
    });
    if (!is_behind && entry->next_try < best->next_try) {
      best = entry;
    }
  }
  return best;
}

/// The lock is open while the channel is at work.
void Courier::attempt(std::unique_lock<std::mutex>& lock, const Queue::iterator& next) {
  Entry entry = std::move(*next);
  queue_.erase(next);
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
  trying_ = entry.delivery.letter;
  lock.unlock();
  const Verdict verdict = channel->send(entry.delivery, stop);
  lock.lock();
  trying_.reset();
  if (stop.stop_requested() && verdict.kind == Verdict::Kind::retry && !deadline_) {
    // Broken off for another channel's sake: no try.
    if (channel_) {
      put_back(std::move(entry));
    } else {
      lose(entry, "this way of sending alerts is no longer configured");
    }
    return;
  }
  ++entry.delivery.attempts;
  settle(std::move(entry), verdict);
}

void Courier::settle(Entry entry, const Verdict& verdict) {
  if (verdict.kind == Verdict::Kind::delivered) {
    succeeded(entry, verdict);
    return;
  }
  ++counts_.tries_failed;
  if (verdict.kind == Verdict::Kind::refused) {
    lose(entry, verdict.detail);
  } else if (deadline_) {
    lose(entry, "saathiid ends; " + verdict.detail);
  } else if (std::chrono::steady_clock::now() - entry.posted >= options_.give_up_after) {
    lose(entry, fmt::format("given up after {}: {}", counted(entry.delivery.attempts, "attempt"),
                            verdict.detail));
  } else if (is_overtaken(entry)) {
    lose(entry, "to the others only its recovery is sent; " + verdict.detail);
  } else {
    put_off(std::move(entry), verdict);
  }
}

void Courier::succeeded(const Entry& entry, const Verdict& verdict) {
  const std::string& title = entry.delivery.letter->title;
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
}

/// A server that is down is down for all; the letter then keeps its turn.
void Courier::put_off(Entry entry, const Verdict& verdict) {
  const auto now = std::chrono::steady_clock::now();
  if (verdict.is_letters_own) {
    entry.next_try = now + pause_after(verdict, entry.backoff.next());
    backoff_.reset();
    next_try_.reset();
    if (verdict.wait > Duration{0}) {
      next_try_ = now + pause_after(verdict, Duration{0});
    }
  } else {
    next_try_ = now + pause_after(verdict, backoff_.next());
  }
  {
    const log::Scope scope(fields_of(name_, entry.delivery));
    log::warning(
        fmt::format("an alert cannot be sent by {} and is tried again: {}", name_, verdict.detail));
  }
  put_back(std::move(entry));
}

/// To its place.
void Courier::put_back(Entry entry) {
  const auto place = std::find_if(queue_.begin(), queue_.end(),
                                  [&](const Entry& other) { return other.number > entry.number; });
  queue_.insert(place, std::move(entry));
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
