"""The key directory: made at first start, private, refused in words when it is not fit, rotated."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from structlog.testing import capture_logs

from grant_service.core.errors import Refused
from grant_service.tokens.keys import Keyring, SigningKey, load_or_create, rotate
from grant_service.tokens.private_dir import KeysUnfit, PrivateDir
from grant_service.tokens.verify import Verifier
from tests.tokens.support import KEY, KID, REF, token, untrusted


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A key directory after a first start."""
    load_or_create(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def careless() -> Iterator[None]:
    """A umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def only_key(directory: Path) -> Path:
    """The key file, where there is one."""
    (path,) = directory.glob("*.pem")
    return path


def pem(key: ed25519.Ed25519PrivateKey, lock: KeySerializationEncryption | None = None) -> bytes:
    """A key as its file holds it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock or NoEncryption())


def write(path: Path, content: bytes) -> Path:
    """Put a private file where it belongs, as an operator would."""
    path.touch(0o600)
    path.write_bytes(content)
    return path


def mode(path: Path) -> int:
    """Who may do what."""
    return stat.S_IMODE(path.lstat().st_mode)


def unfit(directory: Path, verb: Callable[[Path], Keyring] = load_or_create) -> tuple[str, str]:
    """How a directory is refused: the message, and the line in it that is said to help."""
    with pytest.raises(KeysUnfit) as caught:
        verb(directory)
    message = str(caught.value)
    assert "\n" not in message
    return message, message.split("; run: ", 1)[1]


def run(line: str) -> None:
    """Do what a message says, as a person would."""
    subprocess.run(["sh", "-c", line], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.usefixtures("careless")
def test_a_first_start_makes_private_keys(tmp_path: Path) -> None:
    """Nobody else may read them, whatever the umask; nothing unfinished is left."""
    directory = tmp_path / "state" / "keys"
    keyring = load_or_create(directory)
    files = [f"{keyring.signing.kid}.pem", f"{keyring.signing.kid}.pub", "signing"]
    assert sorted(os.listdir(directory)) == files
    assert mode(directory) == 0o700
    assert [mode(directory / name) for name in files] == [0o600, 0o600, 0o600]


def test_a_second_start_finds_the_keys_of_the_first(keys: Path) -> None:
    """Tokens outlive a restart of the sidecar."""
    first, second = load_or_create(keys), load_or_create(keys)
    assert second.signing.kid == first.signing.kid
    assert dict(second.verifying) == dict(first.verifying)
    assert Verifier(second).verify(token(keyring=first)) == REF


def test_a_first_start_in_an_empty_directory_uses_it(tmp_path: Path) -> None:
    """An operator may have made it, or mounted it."""
    (tmp_path / "keys").mkdir(0o700)
    assert load_or_create(tmp_path / "keys").signing.kid == only_key(tmp_path / "keys").stem


def test_two_directories_have_different_keys(tmp_path: Path) -> None:
    """Keys and their names are drawn at random: what one sidecar signed, another does not know."""
    ours, theirs = load_or_create(tmp_path / "ours"), load_or_create(tmp_path / "theirs")
    assert ours.signing.kid != theirs.signing.kid
    assert "kid" in untrusted(token(keyring=theirs), ours)
    renamed = Keyring(
        SigningKey(ours.signing.kid, theirs.signing.private_key),
        {ours.signing.kid: theirs.signing.private_key.public_key()},
    )
    assert "signature" in untrusted(token(keyring=renamed), ours)


@pytest.mark.parametrize("wide", [0o640, 0o604, 0o660, 0o644, 0o777, 0o700, 0o601])
@pytest.mark.parametrize("name", ["key", "signing"])
def test_a_file_others_may_use_is_refused(keys: Path, name: str, wide: int) -> None:
    """The message names path and mode, and the line it gives puts it right."""
    path = only_key(keys) if name == "key" else keys / name
    path.chmod(wide)
    message, line = unfit(keys)
    assert f"{path} has mode {wide:04o}, wider than 0600" in message
    run(line)
    assert mode(path) == 0o600
    assert load_or_create(keys).signing.kid == only_key(keys).stem


def test_a_file_its_owner_may_only_read_is_fine(keys: Path) -> None:
    """Narrower than asked for is not refused."""
    only_key(keys).chmod(0o400)
    assert load_or_create(keys).verifying


@pytest.mark.parametrize("wide", [0o750, 0o705, 0o770, 0o755, 0o777, 0o701])
def test_a_directory_others_may_enter_is_refused(keys: Path, wide: int) -> None:
    """Who may write in it could put a key there."""
    keys.chmod(wide)
    message, line = unfit(keys)
    assert f"{keys} has mode {wide:04o}, wider than 0700" in message
    run(line)
    assert load_or_create(keys).verifying


def test_inherited_group_bits_of_the_parent_are_no_fault(tmp_path: Path) -> None:
    """Below a set-group-id directory every new one has that bit; it gives nobody access."""
    tmp_path.chmod(0o2700)
    load_or_create(tmp_path / "keys")
    assert load_or_create(tmp_path / "keys").verifying


def test_a_foreign_owner_is_refused(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory's first, then each file's: whoever owns a key has it."""
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    message, line = unfit(keys)
    assert f"{keys} belongs to uid {uid}, but must to uid {uid + 1}" in message
    assert line == f"chown {uid + 1} {keys}"


def test_a_foreign_owner_of_a_file_is_refused(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a directory of our own."""
    uid, asked = os.geteuid(), iter([0, 1])
    monkeypatch.setattr(os, "geteuid", lambda: uid + next(asked))
    message, line = unfit(keys)
    assert f"{only_key(keys)} belongs to uid {uid}" in message
    assert line == f"chown {uid + 1} {only_key(keys)}"


@pytest.mark.parametrize("name", ["key", "signing"])
def test_a_linked_file_is_refused(keys: Path, tmp_path: Path, name: str) -> None:
    """A link could be turned to another file between two looks; the line given replaces it by the file."""
    path = only_key(keys) if name == "key" else keys / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    message, line = unfit(keys)
    assert f"{path} must be the file itself, not a link to it" in message
    run(line)
    assert not path.is_symlink()
    assert load_or_create(keys).signing.kid == only_key(keys).stem


def test_a_dangling_link_is_refused(keys: Path) -> None:
    """Not taken for a missing key."""
    only_key(keys).unlink()
    (keys / "k.pem").symlink_to("nowhere")
    assert "must be the file itself" in unfit(keys)[0]


@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
def test_what_is_no_directory_itself_is_refused(keys: Path, tmp_path: Path, kind: str) -> None:
    """Also for a first start; the line given makes way for one, and destroys nothing."""
    path = tmp_path / "other"
    if kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to(keys if kind == "link" else tmp_path / "nowhere")
    message, line = unfit(path)
    assert f"{path} must be a directory itself, not a file or a link" in message
    run(line)
    assert os.path.lexists(tmp_path / "other.old")
    assert load_or_create(path).signing.kid != load_or_create(keys).signing.kid


NO_KEYS: dict[str, bytes] = {
    "empty": b"",
    "garbage": b"\x00\xffcanary",
    "cut": pem(KEY)[:60],
    "p-256": ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ),
    "ed448": ed448.Ed448PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ),
    "x25519": x25519.X25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ),
    "rsa": rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ),
    "public": KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "encrypted": pem(KEY, BestAvailableEncryption(b"canary")),
    "der": KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
}


@pytest.mark.parametrize("kind", NO_KEYS)
def test_what_is_no_ed25519_key_is_refused(keys: Path, kind: str) -> None:
    """No other kind of key, no broken one; and nothing of the content is repeated."""
    path = write(keys / "bad.pem", NO_KEYS[kind])
    message, line = unfit(keys)
    assert f"{path} must hold an unencrypted Ed25519 private key (PEM, PKCS8)" in message
    assert "canary" not in message
    run(line)
    assert list(load_or_create(keys).verifying) == [only_key(keys).stem]


@pytest.mark.parametrize("kind", ["pipe", "directory", "huge"])
def test_what_is_no_plain_file_is_refused(keys: Path, kind: str) -> None:
    """At once: a pipe is not waited for, a huge file is not read."""
    path = keys / "bad.pem"
    if kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "directory":
        path.mkdir(0o700)
    else:
        write(path, pem(KEY) + b"\n" * 5_000)
    message, line = unfit(keys)
    assert f"{path} must be a plain file of at most 4096 bytes" in message
    run(line)
    assert load_or_create(keys).verifying


@pytest.mark.parametrize(
    "kid", ["", "a b", "a.b", "ä", "k;id", "$(id)", "x" * 33, "'", '"', "a\\b"], ids=ascii
)
def test_a_key_with_a_bad_name_is_refused(keys: Path, kid: str) -> None:
    """A kid is 1 to 32 letters, digits, - and _; the line given is safe to run whatever the name."""
    path = write(keys / f"{kid}.pem", pem(KEY))
    message, line = unfit(keys)
    assert f"{path} must be named by 1 to 32 letters, digits, - or _" in message
    run(line)
    assert os.path.lexists(f"{path}.old")
    assert load_or_create(keys).verifying


def test_other_files_are_left_alone(keys: Path) -> None:
    """Only *.pem are keys: not what an editor, a file system or a crash leaves."""
    (keys / "lost+found").mkdir()
    for name in ("README", "old.pem.old", ".unfinished", "key.pem~"):
        (keys / name).write_text("anything")
    assert list(load_or_create(keys).verifying) == [only_key(keys).stem]


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """In words, as everything else."""
    (tmp_path / "file").write_text("")
    assert "cannot be used" in unfit(tmp_path / "file" / "keys")[0]


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words; and the next start, with room again, is a first start as ever."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "No space left on device" in unfit(tmp_path / "keys")[0]
    assert load_or_create(tmp_path / "keys").verifying


def test_rotation_changes_who_signs_and_keeps_who_verifies(keys: Path) -> None:
    """Grants of the old key live on; new ones are signed by the new key, at the next start as well."""
    old = load_or_create(keys)
    new = rotate(keys)
    assert new.signing.kid not in old.verifying
    assert set(new.verifying) == {old.signing.kid, new.signing.kid}
    assert load_or_create(keys).signing.kid == new.signing.kid
    for keyring in (old, new):
        assert Verifier(load_or_create(keys)).verify(token(keyring=keyring)) == REF
    assert {mode(path) for path in keys.iterdir()} == {0o600}


def test_a_service_not_restarted_does_not_know_the_new_key(keys: Path) -> None:
    """Nothing is reloaded behind its back."""
    old = load_or_create(keys)
    assert "kid" in untrusted(token(keyring=rotate(keys)), old)


def test_many_rotations_keep_every_key(keys: Path) -> None:
    """The last one made signs, however the names fall in order."""
    signing = [load_or_create(keys).signing.kid] + [rotate(keys).signing.kid for _ in range(8)]
    assert len(set(signing)) == 9
    assert set(load_or_create(keys).verifying) == set(signing)
    assert load_or_create(keys).signing.kid == signing[-1]


def test_j8_a_retired_key_is_known_no_more(keys: Path) -> None:
    """Its file removed, what it signed is refused from the next start on."""
    old = load_or_create(keys)
    rotate(keys)
    (keys / f"{old.signing.kid}.pem").unlink()
    assert "kid" in untrusted(token(keyring=old), load_or_create(keys))


def test_the_public_half_of_a_retired_key_stays(keys: Path) -> None:
    """What it signed as evidence can be verified for ever; a grant of it cannot be."""
    old = load_or_create(keys)
    rotate(keys)
    (keys / f"{old.signing.kid}.pem").unlink()
    keyring = load_or_create(keys)
    assert dict(keyring.retired) == {old.signing.kid: old.verifying[old.signing.kid]}
    assert old.signing.kid not in keyring.verifying


def test_a_key_from_before_public_halves_gets_its_own(keys: Path) -> None:
    """At the next start; a key that only verifies has signed nothing here yet, and gets none."""
    keyring = rotate(keys)
    for path in keys.glob("*.pub"):
        path.unlink()
    assert not load_or_create(keys).retired
    assert [path.stem for path in keys.glob("*.pub")] == [keyring.signing.kid]


def test_a_public_half_that_is_none_or_of_another_key_is_refused(keys: Path) -> None:
    """Evidence verified by it would prove nothing; the line given puts it right."""
    kid = load_or_create(keys).signing.kid
    path = keys / f"{kid}.pub"
    for content, rule in (
        (b"no key", "must hold an Ed25519 public key"),
        (_other_public(), "is not the public"),
    ):
        write(path, content)
        message, line = unfit(keys)
        assert f"{path} {rule}" in message
        run(line)
        assert load_or_create(keys).signing.kid == kid
        assert path.exists()


def test_a_directory_that_cannot_be_written_keeps_no_public_half(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mounted secret is no reason not to start: its keys verify and sign. What will be missing is said."""
    kid = load_or_create(keys).signing.kid
    (keys / f"{kid}.pub").unlink()

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(PrivateDir, "put", read_only)
    with capture_logs() as logged:
        assert load_or_create(keys).signing.kid == kid
    (warning,) = logged
    assert (warning["log_level"], warning["file"]) == ("warning", f"{kid}.pub")
    assert "Read-only" in warning["cause"]


def test_nothing_is_warned_of_where_the_public_half_is_kept(keys: Path) -> None:
    """The control."""
    with capture_logs() as logged:
        load_or_create(keys)
        rotate(keys)
    assert logged == []


def _other_public() -> bytes:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_j8_a_key_can_be_known_before_it_signs(keys: Path, tmp_path: Path) -> None:
    """Copied to a second host it verifies there; it signs once it is named."""
    here, there = load_or_create(keys), tmp_path / "there"
    load_or_create(there)
    shutil.copy2(only_key(keys), there)
    assert Verifier(load_or_create(there)).verify(token(keyring=here)) == REF
    assert load_or_create(there).signing.kid != here.signing.kid
    write(there / "signing", here.signing.kid.encode() + b"\n")
    assert load_or_create(there).signing.kid == here.signing.kid


def test_rotation_does_not_make_a_directory(tmp_path: Path) -> None:
    """A mistyped path is not a new set of keys."""
    assert "cannot be used" in unfit(tmp_path / "keyz", rotate)[0]
    assert not (tmp_path / "keyz").exists()


@pytest.mark.parametrize("said", [b"", b"nobody", b"\xff\xfe", b"a\nb", b"../x", None], ids=repr)
def test_it_is_never_open_which_key_signs(keys: Path, said: bytes | None) -> None:
    """Two keys and no clear word: refused; the line given names one of them, and is private."""
    rotate(keys)
    if said is None:
        (keys / "signing").unlink()
    else:
        write(keys / "signing", said)
    for verb in (load_or_create, rotate):
        message, line = unfit(keys, verb)
        assert f"{keys / 'signing'} must name the one key that signs, of k-" in message
    run(line)
    assert load_or_create(keys).signing.kid in message
    assert mode(keys / "signing") == 0o600


def test_removed_keys_are_not_a_first_start(keys: Path) -> None:
    """Keys that went missing are missed; a new one is made when told to."""
    only_key(keys).unlink()
    message, line = unfit(keys)
    assert f"{keys / 'signing'} names a key, but none is left" in message
    run(line)
    assert load_or_create(keys).verifying


def test_a_keyring_is_consistent() -> None:
    """Its signing key verifies under its name, and every name could stand in a token."""
    with pytest.raises(ValueError, match="not among those that verify"):
        Keyring(SigningKey(KID, KEY), {})
    with pytest.raises(ValueError, match="not among those that verify"):
        Keyring(SigningKey(KID, KEY), {KID: ed25519.Ed25519PrivateKey.generate().public_key()})
    with pytest.raises(ValueError, match="a kid must match"):
        Keyring(SigningKey("a b", KEY), {"a b": KEY.public_key()})


def test_a_verifier_of_no_key_of_ours_refuses(keys: Path) -> None:
    """Control for the tests above: `untrusted` tells apart."""
    with pytest.raises(Refused):
        Verifier(load_or_create(keys)).verify(token())
