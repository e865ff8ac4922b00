// A real gnome-keyring-daemon on a private D-Bus session (scripts/with-keyring), for as long as this object
// lives; the environment of the test process checkpoints at it. The caller's own keyring is never reached.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace strongroom::store::testing {

// Runs a program and waits for it; its output goes nowhere.
inline int run(const std::vector<std::string>& words, const std::string& input_path = "/dev/null") {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, input_path.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = -1;
  if (error != 0 || waitpid(pid, &status, 0) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Sets or unsets an environment variable until the end of the scope.
class EnvironmentVariable {
 public:
  EnvironmentVariable(std::string name, const char* value) : name_(std::move(name)) {
    if (const char* before = getenv(name_.c_str())) before_ = before;
    set(value);
  }
  ~EnvironmentVariable() { set(before_ ? before_->c_str() : nullptr); }
  EnvironmentVariable(const EnvironmentVariable&) = delete;
  EnvironmentVariable& operator=(const EnvironmentVariable&) = delete;

 private:
  void set(const char* value) {
    if (value != nullptr) {
      setenv(name_.c_str(), value, 1);
    } else {
      unsetenv(name_.c_str());
    }
  }
  std::string name_;
  std::optional<std::string> before_;
};

class PrivateKeyring {
 public:
  PrivateKeyring() {
    const std::filesystem::path script =
        std::filesystem::path(STRONGROOM_SOURCE_DIR) / "scripts" / "with-keyring";
    int to_script[2];
    int from_script[2];
    if (pipe2(to_script, O_CLOEXEC) != 0 || pipe2(from_script, O_CLOEXEC) != 0) std::abort();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to_script[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from_script[1], 1);
    std::string path = script.string();
    char shell[] = "sh";
    char option[] = "-c";
    // The end of our pipe is the signal to tear the session down, also when this process is killed.
    char program[] =
        "printf '%s\\n' \"$DBUS_SESSION_BUS_ADDRESS\" $STRONGROOM_KEYRING_PID $STRONGROOM_KEYRING_BUS_PID "
        "$STRONGROOM_KEYRING_DIRECTORY; cat >/dev/null";
    char* arguments[] = {path.data(), shell, option, program, nullptr};
    const int error = posix_spawn(&script_, path.c_str(), &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(to_script[0]);
    close(from_script[1]);
    input_ = to_script[1];
    FILE* output = fdopen(from_script[0], "r");
    address_ = line(output);
    daemon_ = atoi(line(output).c_str());
    bus_ = atoi(line(output).c_str());
    directory_ = line(output);
    fclose(output);
    if (error != 0 || daemon_ <= 0 || bus_ <= 0 || directory_.empty()) {
      std::fprintf(stderr, "no private keyring: see the message of %s\n", path.c_str());
      std::abort();  // going on might reach the keyring of whoever runs the tests
    }
    variable_.emplace("DBUS_SESSION_BUS_ADDRESS", address_.c_str());
  }
  ~PrivateKeyring() {
    close(input_);
    waitpid(script_, nullptr, 0);
    for (const pid_t pid : later_daemons_) {
      kill(pid, SIGTERM);
      waitpid(pid, nullptr, 0);
    }
  }
  PrivateKeyring(const PrivateKeyring&) = delete;
  PrivateKeyring& operator=(const PrivateKeyring&) = delete;

  [[nodiscard]] const std::string& directory() const { return directory_; }

  void stop_daemon() { kill(daemon_, SIGSTOP); }
  void continue_daemon() { kill(daemon_, SIGCONT); }
  void kill_daemon() { kill(daemon_, SIGKILL); }
  void kill_bus() { kill(bus_, SIGKILL); }

  // A method of the Secret Service; true when it succeeded.
  bool call(const std::string& method, std::initializer_list<std::string> arguments) {
    std::vector<std::string> words = {"dbus-send",
                                      "--session",
                                      "--print-reply",
                                      "--dest=org.freedesktop.secrets",
                                      "/org/freedesktop/secrets",
                                      "org.freedesktop.Secret.Service." + method};
    words.insert(words.end(), arguments);
    return run(words) == 0;
  }
  bool lock() { return call("Lock", {"array:objpath:/org/freedesktop/secrets/collection/login"}); }

  // Another daemon on the same files takes the place of the one before, be it alive, locked or dead. With the
  // password its login keyring is unlocked when this returns.
  bool replace_daemon() {
    return start_daemon("/password",
                        "dbus-send --session --print-reply=literal "
                        "--dest=org.freedesktop.secrets /org/freedesktop/secrets/collection/login "
                        "org.freedesktop.DBus.Properties.Get "
                        "string:org.freedesktop.Secret.Collection string:Locked | grep -q 'boolean false'");
  }
  // The same on no files at all and without a password: a session that nobody logged in to.
  bool replace_daemon_and_forget_everything() {
    kill_daemon();
    std::filesystem::remove_all(directory_ + "/data/keyrings");
    return start_daemon(
        "/no-password",
        "dbus-send --session --print-reply=literal --dest=org.freedesktop.secrets "
        "/org/freedesktop/secrets org.freedesktop.Secret.Service.ReadAlias string:default | grep -qx ' */'");
  }

 private:
  // `ready` is a shell command that succeeds once the daemon serves.
  bool start_daemon(const std::string& password_file, const std::string& ready) {
    const EnvironmentVariable data("XDG_DATA_HOME", (directory_ + "/data").c_str());
    const EnvironmentVariable runtime("XDG_RUNTIME_DIR", (directory_ + "/run").c_str());
    const EnvironmentVariable control("GNOME_KEYRING_CONTROL", (directory_ + "/run/control").c_str());
    const std::string password = directory_ + password_file;
    const bool unlock = std::filesystem::exists(password);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, unlock ? password.c_str() : "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    char name[] = "gnome-keyring-daemon";
    char replace[] = "--replace";
    char foreground[] = "--foreground";
    char components[] = "--components=secrets";
    char unlock_option[] = "--unlock";
    char* arguments[] = {name, replace, foreground, components, unlock ? unlock_option : nullptr, nullptr};
    pid_t pid = 0;
    const int error = posix_spawnp(&pid, name, &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return false;
    later_daemons_.push_back(pid);
    for (int tries = 0; tries < 400; ++tries) {
      if (run({"sh", "-c", ready}) == 0) return true;
      usleep(25'000);
    }
    return false;
  }

  static std::string line(FILE* stream) {
    std::string text;
    if (stream == nullptr) return text;
    for (int c = fgetc(stream); c != EOF && c != '\n'; c = fgetc(stream))
      text.push_back(static_cast<char>(c));
    return text;
  }

  pid_t script_ = 0;
  pid_t daemon_ = 0;
  pid_t bus_ = 0;
  std::vector<pid_t> later_daemons_;
  int input_ = -1;
  std::string address_;
  std::string directory_;
  std::optional<EnvironmentVariable> variable_;
};

}  // namespace strongroom::store::testing
