"""What is said beside the results: a line for each thing, once."""

from edgepriv.project import each_note_once, say


def test_a_command_of_several_verbs_says_each_note_once(capsys):
    with each_note_once():
        for note in ("members 539", "members 539", "another"):
            say(note)
    say("members 539")
    assert capsys.readouterr().err.splitlines() == ["note: members 539", "note: another", "note: members 539"]
