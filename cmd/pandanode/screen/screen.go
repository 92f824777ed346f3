package screen

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/pandanode/pandanode/node/api"
)

// Terminal is where a screen is shown.
type Terminal struct {
	In      io.Reader
	Out     io.Writer
	Environ []string
}

// Run shows a screen until somebody ends it, or ctx does, and gives the texts that the node
// has not accepted.
func Run(ctx context.Context, t Terminal, h Host, c *api.Client, group string) (unsent []string, err error) {
	m := newModel(h, group)
	e := &edge{h: h, c: c, run: rand.Text()}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := tea.NewProgram(&program{ctx, m, e}, tea.WithContext(ctx), tea.WithInput(t.In), tea.WithOutput(t.Out), tea.WithEnvironment(t.Environ), tea.WithoutSignalHandler())
	e.send = p.Send
	defer e.stop()
	_, err = p.Run()
	m.secret.wipe()
	switch {
	case ctx.Err() != nil:
		return m.Unsent(), context.Cause(ctx)
	case errors.Is(err, tea.ErrInterrupted):
		err = nil
	}
	return m.Unsent(), err
}

// program is a model as Bubble Tea runs it.
type program struct {
	ctx context.Context //nolint:containedctx // the calls of Bubble Tea have none
	m   *model
	e   *edge
}

func (p *program) Init() tea.Cmd {
	return tea.Batch(append(p.cmds(p.m.Init()), tea.RequestBackgroundColor)...)
}

func (p *program) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmds := p.cmds(p.m.Update(msg))
	if len(cmds) == 0 {
		return p, nil
	}
	return p, tea.Batch(cmds...)
}

// cmds makes commands of wants.
func (p *program) cmds(wants []want) []tea.Cmd {
	var out []tea.Cmd
	for i, w := range wants {
		switch w := w.(type) {
		case wantQuit:
			var last []tea.Cmd // what is to be kept comes first
			for _, o := range wants[:i] {
				last = append(last, p.cmd(o))
			}
			return []tea.Cmd{tea.Sequence(append(last, tea.Quit)...)}
		case wantPause:
			out = append(out, tea.Suspend)
		case wantRedraw:
			out = append(out, tea.ClearScreen)
		case wantCopy:
			out = append(out, tea.SetClipboard(w.text))
		case wantEditor:
			out = append(out, p.e.editing(w.text))
		default:
			out = append(out, p.cmd(w))
		}
	}
	return out
}

func (p *program) cmd(w want) tea.Cmd {
	return func() tea.Msg { return p.e.do(p.ctx, w) }
}

func (p *program) View() tea.View {
	f := p.m.View()
	v := tea.NewView(strings.Join(f.lines, "\n"))
	v.AltScreen, v.ReportFocus, v.WindowTitle = true, true, p.m.windowTitle()
	if f.cursor {
		v.Cursor = tea.NewCursor(f.x, f.y)
	}
	return v
}
