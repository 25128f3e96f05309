#include "saathii/runner/ledger_keeper.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <map>

#include "saathii/base/errors.hpp"
#include "saathii/log/log.hpp"
#include "saathii/runner/worker.hpp"

namespace saathii::runner {

namespace {

namespace asio = boost::asio;

/// How often one outcome alone is refused by a database that is up before it is dropped.
constexpr int max_strikes = 5;
/// How many bounded steps one hour's pruning may take.
constexpr int max_prune_steps = 200;

}  // namespace

LedgerKeeper::LedgerKeeper(asio::io_context& loop, RunLedger& ledger, LedgerOptions options)
    : ledger_(ledger),
      options_(std::move(options)),
      executor_(loop.get_executor()),
      worker_(1),
      backoff_(options_.backoff, options_.backoff_cap),
      changed_(executor_),
      done_(executor_),
      next_prune_(std::chrono::steady_clock::now()),
      batch_size_(options_.batch_limit) {}

void LedgerKeeper::ask_past(std::string job, Instant now, Answer answer) {
  questions_.push_back({std::move(job), now, std::move(answer)});
  changed_.ring();
}

void LedgerKeeper::add(Record record) {
  begin_waiting();
  queue_.push_back(std::move(record));
  make_room();
  changed_.ring();
}

void LedgerKeeper::add_oldest(std::vector<Record> records) {
  begin_waiting();
  queue_.insert(queue_.begin(), std::make_move_iterator(records.begin()),
                std::make_move_iterator(records.end()));
  make_room();
  changed_.ring();
}

/// Since when nothing that waits could be written.
void LedgerKeeper::begin_waiting() {
  if (waiting() == 0) {
    waiting_since_ = std::chrono::steady_clock::now();
  }
}

Duration LedgerKeeper::waiting_for() const {
  return waiting() == 0 ? Duration{0}
                        : std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() -
                                                               waiting_since_);
}

/// The older half's ticks that brought nothing are summed up in one range for
/// each job and outcome; if that does not help, the oldest outcome goes.
void LedgerKeeper::make_room() {
  if (queue_.size() <= options_.queue_limit) {
    return;
  }
  const std::size_t half = queue_.size() / 2;
  std::map<std::pair<std::string, schedule::Outcome>, std::size_t> ranges;
  std::deque<Record> kept;
  for (std::size_t i = 0; i < queue_.size(); ++i) {
    Record& record = queue_[i];
    if (i < half && record.outcome != schedule::Outcome::succeeded) {
      const auto [known, is_new] = ranges.try_emplace({record.job, record.outcome}, kept.size());
      if (!is_new) {
        Record& range = kept[known->second];
        range.scheduled_at = std::min(range.scheduled_at, record.scheduled_at);
        range.last_scheduled_at = std::max(range.last_scheduled_at, record.last_scheduled_at);
        range.ticks += record.ticks;
        range.run_id.clear();
        range.counts.clear();
        continue;
      }
    }
    kept.push_back(std::move(record));
  }
  queue_ = std::move(kept);
  while (queue_.size() > options_.queue_limit) {
    ++lost_;
    queue_.pop_front();
    log::error(log::Message::outcomes_lost,
               "the run ledger cannot be written and too many outcomes wait: the oldest is dropped",
               {{"DROPPED", std::to_string(lost_)}});
  }
}

template <typename Work>
asio::awaitable<LedgerKeeper::Call> LedgerKeeper::call(Work work, bool limited) {
  static_assert(std::is_trivially_destructible_v<Work>);  // as for on_worker()
  asio::steady_timer deadline(executor_);
  deadline.expires_at(limited ? std::chrono::steady_clock::now() + options_.call_timeout
                              : SteadyTime::max());
  deadline.async_wait([this](const boost::system::error_code& error) {
    if (!error) {
      ledger_.interrupt();
    }
  });
  std::string message;
  auto id = log::Message::none;
  const Call outcome = co_await on_worker(worker_, [&work, &message, &id] {
    try {
      work();
      return Call::done;
    } catch (const Unavailable& error) {
      message = error.what();
      return Call::unavailable;
    } catch (const Refused& error) {
      message = error.what();
      return Call::refused;
    } catch (const Unprepared& error) {
      message = error.what();
      id = error.id();
      return Call::failed;
    } catch (const std::exception& error) {
      message = error.what();
      return Call::failed;
    }
  });
  deadline.cancel();
  last_error_ = std::move(message);
  last_id_ = id;
  if (outcome == Call::done) {
    backoff_.reset();
  }
  co_return outcome;
}

void LedgerKeeper::give_verdict() {
  if (!std::exchange(verdict_, true) && verdict_callback_) {
    verdict_callback_();
  }
}

/// Waits before the next try; ends early when a server comes up or at close().
asio::awaitable<void> LedgerKeeper::back_off(Call failure, log::Message id, std::string_view what) {
  give_verdict();
  const Duration pause = backoff_.next();
  const std::string message = fmt::format("{}: {}", what, last_error_);
  if (failure == Call::unavailable) {
    log::debug(message);
  } else {
    log::error(last_id_ == log::Message::none ? id : last_id_, message);
  }
  poked_ = false;
  const SteadyTime until = std::chrono::steady_clock::now() + pause;
  while (!closed_ && !poked_ && std::chrono::steady_clock::now() < until) {
    co_await changed_.wait_until(until);
  }
}

/// A try that began before close() is followed by one more, unless its server is
/// down: that one would take as long again, and find it down.
bool LedgerKeeper::is_last(bool was_closed, Call outcome) const noexcept {
  return was_closed || (closed_ && outcome == Call::unavailable);
}

asio::awaitable<void> LedgerKeeper::ask_questions() {
  while (!questions_.empty()) {
    const Question& question = questions_.front();
    const bool last_try = closed_;
    Past past;
    const Call outcome = co_await call([&] { past = ledger_.past(question.job, question.now); });
    if (outcome == Call::done) {
      question.answer(std::move(past));
      questions_.pop_front();
    } else if (is_last(last_try, outcome)) {
      co_return;
    } else {
      co_await back_off(outcome, log::Message::ledger_unwritten, "the past runs cannot be read");
    }
  }
}

asio::awaitable<bool> LedgerKeeper::prepare() {
  for (;;) {
    const bool last_try = closed_;
    const Call outcome = co_await call([&] { options_.prepare(stop_.get_token()); }, false);
    if (outcome == Call::done) {
      co_return true;
    }
    if (outcome == Call::refused) {
      closed_ = true;
      if (refused_) {
        refused_(last_error_);
      }
      co_return false;
    }
    if (is_last(last_try, outcome)) {
      co_return false;
    }
    co_await back_off(outcome, log::Message::database_unready,
                      "the database is not ready for saathiid");
  }
}

/// Until the tables are there and every job's past is known.
asio::awaitable<void> LedgerKeeper::begin() {
  prepared_ = co_await prepare();
  if (prepared_) {
    co_await ask_questions();
  }
  // Newer outcomes without the older ones would hide that those are missing.
  give_up_ = !prepared_ || !questions_.empty();
  give_verdict();
  // Jobs that wait account for their past before anything newer is written.
  co_await asio::post(executor_, asio::use_awaitable);
}

asio::awaitable<void> LedgerKeeper::flush() {
  const auto count = static_cast<std::ptrdiff_t>(std::min(queue_.size(), batch_size_));
  std::vector<Record> batch(std::make_move_iterator(queue_.begin()),
                            std::make_move_iterator(queue_.begin() + count));
  queue_.erase(queue_.begin(), queue_.begin() + count);
  in_flight_ = batch.size();
  const bool last_try = closed_;
  const Call outcome = co_await call([&] { ledger_.record(batch); });
  in_flight_ = 0;
  if (outcome == Call::done) {
    batch_size_ = options_.batch_limit;
    strikes_ = 0;
    waiting_since_ = std::chrono::steady_clock::now();
    if (std::exchange(lost_, 0) > 0) {
      log::warning(log::Message::ledger_written,
                   "the run ledger is written again, without the outcomes that were dropped");
    }
    co_return;
  }
  if (outcome == Call::failed) {
    // One outcome that the database refuses must not hold up all others.
    if (batch.size() == 1 && ++strikes_ >= max_strikes) {
      log::error(log::Message::outcomes_lost,
                 fmt::format("the outcome of {} at {} is not kept: {}", batch[0].job,
                             to_iso8601(batch[0].scheduled_at), last_error_),
                 {{"JOB", batch[0].job},
                  {"RUN_ID", batch[0].run_id},
                  {"SCHEDULED_AT", to_iso8601(batch[0].scheduled_at)}});
      batch.clear();
      strikes_ = 0;
    }
    batch_size_ = 1;
  }
  queue_.insert(queue_.begin(), std::make_move_iterator(batch.begin()),
                std::make_move_iterator(batch.end()));
  if (is_last(last_try, outcome)) {
    give_up_ = true;
  } else {
    co_await back_off(outcome, log::Message::ledger_unwritten, "the run ledger cannot be written");
  }
}

asio::awaitable<void> LedgerKeeper::prune() {
  bool more = true;
  for (int step = 0; more && step < max_prune_steps && queue_.empty() && !closed_; ++step) {
    const Call outcome = co_await call([&] { more = ledger_.prune(); });
    if (outcome != Call::done) {
      co_await back_off(outcome, log::Message::ledger_unwritten,
                        "old runs and charges cannot be pruned");
      break;
    }
  }
  if (queue_.empty() || !more) {
    next_prune_ = std::chrono::steady_clock::now() + options_.prune_interval;
  }
}

asio::awaitable<void> LedgerKeeper::run() {
  co_await begin();
  while (!give_up_) {
    if (!questions_.empty() && !closed_) {
      co_await ask_questions();
    } else if (!queue_.empty()) {
      co_await flush();
    } else if (closed_) {
      break;
    } else if (std::chrono::steady_clock::now() >= next_prune_) {
      co_await prune();
    } else {
      co_await changed_.wait_until(next_prune_);
    }
  }
  finished_ = true;
  done_.ring();
}

void LedgerKeeper::close() {
  closed_ = true;
  changed_.ring();
}

void LedgerKeeper::poke() {
  poked_ = true;
  changed_.ring();
}

}  // namespace saathii::runner
