package screen

import "strings"

// keysHelp lists the keys.
var keysHelp = [][2]string{
	{"Enter", "sends; Alt-Enter (also Ctrl-J) begins a new line"},
	{"↑", "in an empty line: writes your last message anew"},
	{"Ctrl-P, Ctrl-N", "go through what you have sent from here"},
	{"Ctrl-E", "writes in the program of $VISUAL or $EDITOR"},
	{"Tab", "completes @names, /commands, :emoji:, and the path of a file to send"},
	{"Esc", "selects a message, then:"},
	{"  r  t", "answer it, show its thread alone and answer there"},
	{"  e  d  +", "edit it, delete it, react to it"},
	{"  s  c  w", "save its files, copy it, say why it is where it is"},
	{"  Esc", "go back: to the line; from a thread to all messages"},
	{"Page Up, Page Down", "scroll; Shift-↑ and Shift-↓ by a line"},
	{"Home, End", "in an empty line: to what was new, to the newest"},
	{"Alt-↑, Alt-↓", "go to the group above, to the one below"},
	{"Alt-A", "goes to the next group with unread messages"},
	{"Ctrl-K", "goes to a group by its name"},
	{"Ctrl-T", "finds a group, or founds one"},
	{"Ctrl-F", "searches in the group"},
	{"F2", "shows the members"},
	{"Alt-L", "shows the messages alone, to copy with the mouse"},
	{"Ctrl-L", "draws the screen anew"},
	{"Ctrl-Z", "goes to the shell; fg comes back"},
	{"Ctrl-C", "ends the chat; a message that was begun is kept"},
}

// signs says what stands behind an own message.
var signs = [][2]string{
	{"queued", "written down here, and not sent yet"},
	{"✓", "sent"},
	{"✓ 2 of 3", "two of three other devices have it"},
	{"✓✓", "all have it"},
}

// help lists keys and commands for a width.
func help(commands []string, width int) (lines []string) {
	const first, narrow = 20, 70
	add := func(rows [][2]string) {
		for _, k := range rows {
			if width < narrow {
				lines = append(lines, paint(bold, k[0]), "    "+k[1])
				continue
			}
			lines = append(lines, paint(bold, k[0]+strings.Repeat(" ", first-len([]rune(k[0]))))+k[1])
		}
	}
	add(keysHelp)
	lines = append(lines, "")
	add(signs)
	lines = append(lines, "", "A message that begins with \"/\" is written with two: \"//\".", "")
	return append(lines, commands...)
}
