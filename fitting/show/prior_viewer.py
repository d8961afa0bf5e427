"""The pose prior in the browser: a body that follows sliders for the latent numbers.

It samples poses, interpolates between two, projects a pose from a file with the prior, and shows the log density.
"""

import threading
from html import escape

import numpy as np
import torch
from jaxtyping import Float

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import pose_body
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import ArrayFile
from bodyfit.fitting.draw.colours import SKY_BLUE, rgb8
from bodyfit.fitting.show.page_server import Page, add_lights
from bodyfit.prior.model.vposer import VPoser

_REACH = 4.0  # the range of the sliders
_SHAPES = 3  # betas with a slider
_MAX_POSE_BYTES = 64 * 1024**2


class PriorViewer(Page):
    """A page over a prior."""

    def __init__(self, prior: VPoser, body: BodyModel, *, host: str = "127.0.0.1", port: int = 8080, seed: int = 0):
        self.prior, self.body = prior, body
        self._generator = torch.Generator().manual_seed(seed)
        # The scores of samples of the prior, as a scale for the score of the current pose.
        self._scores = np.sort(prior.latent_log_prob(prior.sample(2000, self._generator)).numpy())
        means = {"left_hand_pose": body.hand_mean_left, "right_hand_pose": body.hand_mean_right}
        self._hands = {k: torch.as_tensor(v, dtype=torch.float32)[None] for k, v in means.items() if v is not None}
        self._kept = {"A": self._mean(), "B": self._mean()}
        self._given: Float[np.ndarray, "N 63"] | None = None
        self._changed = threading.Event()
        super().__init__(host, port)
        self._dress_scene()
        self._add_controls()
        self._update()
        # Dragging causes events faster than a body can be posed: one thread draws the latest and drops the rest.
        self._drawer = threading.Thread(target=self._draw_changes, daemon=True)
        self._drawer.start()

    @property
    def latent(self) -> Float[torch.Tensor, " Z"]:
        """The values of the sliders."""
        return torch.tensor([slider.value for slider in self._sliders], dtype=torch.float32)

    def close(self) -> None:
        """Ends the page, and before it the thread that draws."""
        self._open = False
        self._changed.set()
        self._drawer.join(5)
        super().close()

    def _dress_scene(self) -> None:
        server = self._server
        server.scene.set_up_direction("+y")
        add_lights(server, np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, -1.0]))
        server.scene.add_grid("/floor", width=4.0, height=4.0, plane="xz", cell_size=0.25, position=(0.0, -1.15, 0.0))
        server.initial_camera.position = (0.9, 0.5, 3.6)
        server.initial_camera.look_at = (0.0, -0.2, 0.0)
        server.initial_camera.fov = float(np.radians(40.0))

    # ---- controls ---------------------------------------------------------------------------------------------------

    def _add_controls(self) -> None:
        gui = self._server.gui
        with gui.add_folder("Pose"):
            self._words = gui.add_html("")
            sample, mean = gui.add_button("Sample"), gui.add_button("Mean")
        with gui.add_folder("From A to B"):
            keep = gui.add_button_group("keep as", ("A", "B"))
            self._share = gui.add_slider("share of B", 0.0, 1.0, 0.01, 0.0)
        with gui.add_folder("Project a pose"):
            upload = gui.add_upload_button(
                "Open .npz", hint="A result of ours, or a file with body_pose, pose_body or poses (AMASS)"
            )
            self._frame = gui.add_slider("frame", 0, 1, 1, 0, disabled=True)
            self._as_given = gui.add_checkbox("as the file has it, not projected", False, disabled=True)
            self._note = gui.add_html("")
        with gui.add_folder("Latent"):
            self._sliders = [
                gui.add_slider(f"z{i + 1}", -_REACH, _REACH, 0.05, float(value))
                for i, value in enumerate(self._within_reach(self._mean()))
            ]
        with gui.add_folder("Shape", expand_by_default=False):
            shapes = min(_SHAPES, self.body.num_betas)
            self._betas = [gui.add_slider(f"beta {i + 1}", -3.0, 3.0, 0.1, 0.0) for i in range(shapes)]
        sample.on_click(lambda _: self._set_latent(self.prior.sample(1, self._generator)[0]))
        mean.on_click(lambda _: self._set_latent(self._mean()))
        keep.on_click(lambda event: self._keep(event.target.value))
        self._share.on_update(lambda _: self._interpolate())
        upload.on_upload(lambda event: self._open_file(event.target.value.name, event.target.value.content))
        self._frame.on_update(lambda _: self._project())
        for control in (self._as_given, *self._sliders, *self._betas):
            control.on_update(lambda _: self._changed.set())

    def _mean(self) -> Float[torch.Tensor, " Z"]:
        return self.prior.latent_mean.float().clone()

    def _within_reach(self, latent: Float[torch.Tensor, " Z"]) -> list[float]:
        return [round(float(np.clip(value, -_REACH, _REACH)), 2) for value in latent.tolist()]

    def _set_latent(self, latent: Float[torch.Tensor, " Z"]) -> None:
        with self._server.atomic():
            for slider, value in zip(self._sliders, self._within_reach(latent), strict=True):
                slider.value = value
        self._changed.set()

    def _keep(self, which: str) -> None:
        self._kept[which] = self.latent

    def _interpolate(self) -> None:
        self._set_latent(torch.lerp(self._kept["A"], self._kept["B"], float(self._share.value)))

    def _open_file(self, name: str, content: bytes) -> None:
        try:
            self._given = read_body_poses(name, content)
        except BodyfitError as error:
            self._note.content = _paragraph(escape(str(error)))
            return
        count = len(self._given)
        self._note.content = _paragraph(f"{escape(name)}: {count} poses")
        self._frame.max, self._frame.value = max(count - 1, 1), 0
        self._frame.disabled, self._as_given.disabled = count < 2, False
        self._project()

    def _project(self) -> None:
        if self._given is not None:
            pose = torch.as_tensor(self._given[int(self._frame.value)], dtype=torch.float32)
            self._set_latent(self.prior.encode(pose[None]).mean[0])

    # ---- drawing ----------------------------------------------------------------------------------------------------

    def _draw_changes(self) -> None:
        while self._changed.wait() and self._open:
            self._changed.clear()
            self._update()

    @torch.no_grad()
    def _update(self) -> None:
        latent = self.latent
        if self._given is not None and self._as_given.value:
            pose = torch.as_tensor(self._given[int(self._frame.value)], dtype=torch.float32)[None]
            score = float(self.prior.latent_log_prob(self.prior.encode(pose).mean)[0])
        else:
            pose = self.prior.decode_axis_angle(latent[None])
            score = float(self.prior.latent_log_prob(latent[None])[0])
        betas = torch.tensor([[slider.value for slider in self._betas]], dtype=torch.float32)
        vertices = (
            pose_body(self.body, betas=betas, global_orient=torch.zeros(1, 3), body_pose=pose).vertices[0].numpy()
        )
        below = np.searchsorted(self._scores, score) / len(self._scores)
        self._words.content = _paragraph(
            f"{escape(self.prior.name)}<br>log density <b>{score:.1f}</b> nats,<br>"
            f"higher than <b>{100 * below:.0f} %</b> of the prior's own samples"
        )
        if hasattr(self, "_mesh"):
            self._mesh.vertices = vertices.astype(np.float32)
        else:
            self._mesh = self._server.scene.add_mesh_simple("/body", vertices, self.body.faces, color=rgb8(SKY_BLUE))


def read_body_poses(name: str, content: bytes) -> Float[np.ndarray, "N 63"]:
    """Body poses, axis-angle, of a file's bytes: `body_pose` or `pose_body` (63 a pose), or AMASS's `poses`.

    Raises:
        BodyfitError: If it is not an .npz, or has none of these; nothing in it is executed.
    """
    with ArrayFile(name, content=content) as file:
        for key in ("body_pose", "pose_body", "poses"):
            if key not in file:
                continue
            array = np.atleast_2d(file.read(key, most=_MAX_POSE_BYTES))
            if array.dtype.kind not in "fiu" or array.ndim != 2 or not np.isfinite(array).all() or not len(array):
                continue
            if key == "poses" and array.shape[1] >= 66:
                return array[:, 3:66].astype(float)
            if key != "poses" and array.shape[1] in (63, 69):
                return array[:, :63].astype(float)
        keys = ", ".join(file.keys[:8])
    raise BodyfitError(f"{name}: no body_pose, pose_body or poses of usable shape; it holds {keys or 'nothing'}.")


def _paragraph(words: str) -> str:
    return f"<div style='padding:0.3em 1em;font-size:0.85em;overflow-wrap:anywhere'>{words}</div>"
