#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "refusal.hpp"
#include "saathii/control/sdbus.hpp"

namespace saathii::control {

/// The calls of one connection that still wait for their answer: a bounded
/// number, so that a flood of them costs a bounded amount of memory and work.
/// Loop thread. It outlives no connection: what is waiting then is forgotten.
///
/// They are counted by user, however many connections one has. Nobody who is not
/// trusted can take the room of who is.
class OpenCalls {
 public:
  struct Limits {
    std::size_t all = 64;         ///< of all whom nobody trusts; of each whom somebody does
    std::size_t of_one_user = 8;  ///< whom nobody trusts; of a connection whose user is not known
    std::size_t of_unknown_users = 4096;  ///< until the bus has told: soon
  };

  class Call {
   public:
    Call(OpenCalls& calls, std::string caller);
    virtual ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    virtual void refuse(const sdbus::Error& error) noexcept = 0;
    virtual void forget() noexcept = 0;
    /// It is this user's from now on. Throws Refusal where that is one too many.
    void admit(uid_t user, bool trusted);

   protected:
    void close() noexcept;

   private:
    friend class OpenCalls;
    OpenCalls* calls_;
    std::string account_;  ///< the caller's name on the bus, or "uid 1000"
    std::size_t* group_;   ///< of the open calls it is one of
  };

  /// `sent` is called after each answer.
  OpenCalls(Limits limits, std::function<void()> sent);
  ~OpenCalls();
  OpenCalls(const OpenCalls&) = delete;
  OpenCalls& operator=(const OpenCalls&) = delete;

  /// Throws Refusal where one more of the connection is too many.
  void require_room(const std::string& caller) const;
  void refuse_all(const sdbus::Error& error) noexcept;

 private:
  [[nodiscard]] std::size_t open_of(const std::string& account) const;
  void enter(Call& call, std::string account, std::size_t& group);
  void leave(const Call& call) noexcept;

  const Limits limits_;
  std::function<void()> sent_;
  std::set<Call*> open_;
  std::map<std::string, std::size_t> by_account_;
  std::size_t unknown_ = 0, untrusted_ = 0, trusted_ = 0;  ///< how many of open_
};

/// A caller's right to exactly one answer: copies share it, and the last one to
/// go says that it failed. After its connection it does nothing.
template <typename... Results>
class Answer {
 public:
  Answer(OpenCalls& calls, const std::string& caller, sdbus::Result<Results...>&& result)
      : waiting_(std::make_shared<Waiting>(calls, caller, std::move(result))) {}

  void give(const Results&... results) const noexcept {
    waiting_->settle([&](const auto& result) { result.returnResults(results...); });
  }
  /// As OpenCalls::Call::admit().
  void admit(uid_t user, bool trusted) const { waiting_->admit(user, trusted); }
  void refuse(const std::exception_ptr& error) const noexcept {
    waiting_->refuse(to_bus_error(error));
  }

 private:
  class Waiting final : public OpenCalls::Call {
   public:
    Waiting(OpenCalls& calls, const std::string& caller, sdbus::Result<Results...>&& result)
        : Call(calls, caller), result_(std::move(result)) {}
    ~Waiting() override {
      if (result_) {
        refuse(make_error("com.saathiiapp.Tasks1.Error.Failed", "saathiid gave no answer"));
      }
    }
    template <typename Settle>
    void settle(Settle&& settle_with) noexcept {
      if (!result_) {
        return;
      }
      const sdbus::Result<Results...> result = std::move(*result_);
      result_.reset();
      try {
        settle_with(result);
      } catch (const std::exception&) {
        // The connection is lost, and with it who asked.
      }
      close();
    }
    void refuse(const sdbus::Error& error) noexcept override {
      settle([&](const auto& result) { result.returnError(error); });
    }
    void forget() noexcept override { result_.reset(); }

   private:
    std::optional<sdbus::Result<Results...>> result_;
  };

  std::shared_ptr<Waiting> waiting_;
};

}  // namespace saathii::control
